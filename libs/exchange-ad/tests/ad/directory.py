"""Adds to and reads from the domain of the tests, in one transaction: orders as JSON on stdin, answers as JSON on stdout.

directory.py CONFIGURATION
"""

import json
import os
import sys
import time

import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB


def value(raw):
    if isinstance(raw, list):
        return [value(one) for one in raw]
    if isinstance(raw, dict):
        return bytes.fromhex(raw["hex"])
    return raw


def changed(base, dn, attributes):
    message = ldb.Message(ldb.Dn(base, dn))
    for name, new in attributes.items():
        message[name] = ldb.MessageElement(value(new), ldb.FLAG_MOD_REPLACE, name)
    base.modify(message)


def main(configuration):
    settings = LoadParm()
    settings.load(configuration)
    path = os.path.join(os.path.dirname(configuration), "private/sam.ldb")
    base = SamDB(url=path, session_info=system_session(), lp=settings, options=["batch_mode:1"])
    orders = json.load(sys.stdin)
    base.transaction_start()
    try:
        for entry in orders.get("add", []):
            base.add({name: value(raw) for name, raw in entry.items()})
        for dn, password in orders.get("passwords", {}).items():
            must_change = dn in orders.get("must_change", [])
            base.setpassword(f"(distinguishedName={ldb.binary_encode(dn)})", password, must_change)
        for dn, attributes in orders.get("change", {}).items():
            changed(base, dn, attributes)
        for dn in orders.get("lock", []):
            # In units of 100 ns since 1601.
            changed(base, dn, {"lockoutTime": str(int((time.time() + 11644473600) * 10**7))})
    except BaseException:
        base.transaction_cancel()
        raise
    base.transaction_commit()
    answers = []
    for dn, attribute in orders.get("read", []):
        found = base.search(base=dn, scope=ldb.SCOPE_BASE, attrs=[attribute])
        values = found[0].get(attribute)
        answers.append(base.schema_format_value(attribute, values[0]).decode() if values else None)
    json.dump(answers, sys.stdout)


main(sys.argv[1])
