"""Reads the permissions of several calendars with exchangelib: calendars.py URL LOGIN PASSWORD HOW ADDRESS...

HOW is delegate or impersonation, and :NTLM after it for another way to sign in than Basic.
"""

import json
import sys

from exchangelib import DELEGATE, IMPERSONATION, Account, Configuration, Credentials

url, login, password, how, *addresses = sys.argv[1:]
how, _, sign_in = how.partition(":")
config = Configuration(
    service_endpoint=f"{url}/EWS/Exchange.asmx",
    credentials=Credentials(login, password),
    auth_type=sign_in or "basic",
)
access = {"delegate": DELEGATE, "impersonation": IMPERSONATION}[how]
for address in addresses:
    account = Account(address, config=config, autodiscover=False, access_type=access)
    calendar = account.calendar
    entries = [
        [entry.user_id.primary_smtp_address or entry.user_id.distinguished_user, entry.calendar_permission_level]
        for entry in calendar.permission_set.calendar_permissions
    ]
    print(json.dumps({"address": address, "name": calendar.name, "entries": entries}))
