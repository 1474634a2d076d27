"""Makes the domain of the tests: provisions it, extends its schema, adds the account that reads it, and those that sign in by Kerberos.

Run by the system's Python, which has Samba's modules: samba.py FOLDER CONFIGURATION REALM ADMIN_PASSWORD READER_PASSWORD SIGNS_IN_PASSWORD
"""

import subprocess
import sys

import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB

# What Exchange adds to the schema, as far as we read it: name, number, syntax in both notations.
ATTRIBUTES = [
    ("msExchMailboxGuid", "1.2.840.113556.1.4.7000.102.11058", "2.5.5.10", 4),
    ("msExchRecipientTypeDetails", "1.2.840.113556.1.4.7000.102.50855", "2.5.5.16", 65),
]


def provision(folder, realm, password):
    subprocess.run(
        [
            "samba-tool", "domain", "provision", "--server-role=dc", "--use-rfc2307", "--dns-backend=NONE",
            f"--realm={realm}", f"--domain={realm.split('.')[0]}", f"--adminpass={password}", "--host-name=dc1",
            "--host-ip=127.0.0.1", f"--targetdir={folder}", "--option=interfaces=lo",
            "--option=bind interfaces only=yes", "--option=vfs objects=", "--option=dcerpc endpoint servers=-dnsserver",
            f"--option=log file={folder}/log",
        ],
        check=True,
    )


def opened(folder, configuration):
    settings = LoadParm()
    settings.load(configuration)
    return SamDB(url=f"{folder}/private/sam.ldb", session_info=system_session(), lp=settings)


def extend_schema(folder, configuration):
    base = opened(folder, configuration)
    schema = str(base.get_schema_basedn())
    for name, number, syntax, om_syntax in ATTRIBUTES:
        base.add({
            "dn": f"CN={name},{schema}", "objectClass": "attributeSchema", "lDAPDisplayName": name,
            "attributeID": number, "attributeSyntax": syntax, "oMSyntax": str(om_syntax),
            "isSingleValued": "TRUE", "searchFlags": "1",
        })
    base.set_schema_update_now()
    base = opened(folder, configuration)
    change = ldb.Message(ldb.Dn(base, f"CN=Mail-Recipient,{schema}"))
    change["mayContain"] = ldb.MessageElement([row[0] for row in ATTRIBUTES], ldb.FLAG_MOD_ADD, "mayContain")
    base.modify(change)
    base.set_schema_update_now()


def add_reader(folder, configuration, password):
    base = opened(folder, configuration)
    base.newuser("reader", password)
    base.setexpiry("(sAMAccountName=reader)", 0, no_expiry_req=True)
    # As most domains have it: wrong passwords are counted, and lock an account.
    change = ldb.Message(ldb.Dn(base, base.domain_dn()))
    change["lockoutThreshold"] = ldb.MessageElement("10", ldb.FLAG_MOD_REPLACE, "lockoutThreshold")
    base.modify(change)


def add_kerberos(folder, configuration, password):
    base = opened(folder, configuration)
    # One that signs in, one whose password a test changes, one that a test gives wrong passwords of, one that may not, and
    # the one that the service runs as.
    for name in ["sa-full", "sa-changed", "sa-guessed", "sa-disabled", "exchange"]:
        base.newuser(name, password)
        base.setexpiry(f"(sAMAccountName={name})", 0, no_expiry_req=True)
    base.disable_account("(sAMAccountName=sa-disabled)")
    change = ldb.Message(ldb.Dn(base, f"CN=exchange,CN=Users,{base.domain_dn()}"))
    change["servicePrincipalName"] = ldb.MessageElement(["HTTP/localhost"], ldb.FLAG_MOD_REPLACE, "servicePrincipalName")
    # AES alone, as present servers have it.
    change["msDS-SupportedEncryptionTypes"] = ldb.MessageElement("24", ldb.FLAG_MOD_REPLACE, "msDS-SupportedEncryptionTypes")
    base.modify(change)
    subprocess.run(
        ["samba-tool", "domain", "exportkeytab", f"{folder}/http.keytab", "--principal=HTTP/localhost", "-s", configuration],
        check=True,
    )


def main(folder, configuration, realm, admin_password, reader_password, signs_in_password):
    provision(folder, realm, admin_password)
    extend_schema(folder, configuration)
    add_reader(folder, configuration, reader_password)
    add_kerberos(folder, configuration, signs_in_password)


main(*sys.argv[1:])
