"""Makes the domain of the tests: provisions it, extends its schema, adds the account that reads it.

Run by the system's Python, which has Samba's modules: samba.py FOLDER CONFIGURATION REALM ADMIN_PASSWORD READER_PASSWORD
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


def main(folder, configuration, realm, admin_password, reader_password):
    provision(folder, realm, admin_password)
    extend_schema(folder, configuration)
    add_reader(folder, configuration, reader_password)


main(*sys.argv[1:])
