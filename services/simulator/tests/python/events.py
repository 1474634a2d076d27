"""Makes an event in somebody else's calendar with exchangelib, finds it, and deletes it again:
events.py URL LOGIN PASSWORD ADDRESS. Prints a line of JSON: what was found, and what was left; or who was refused what."""

import json
import sys
from datetime import datetime, timedelta

from exchangelib import DELEGATE, UTC, Account, CalendarItem, Configuration, Credentials
from exchangelib.errors import ResponseMessageError
from exchangelib.folders import Calendar, SingleFolderQuerySet
from exchangelib.items import SEND_TO_NONE
from exchangelib.properties import DistinguishedFolderId, Mailbox

url, login, password, address = sys.argv[1:]
config = Configuration(
    service_endpoint=f"{url}/EWS/Exchange.asmx",
    credentials=Credentials(login, password),
    auth_type="basic",
)
own = Account(login, config=config, autodiscover=False, access_type=DELEGATE)
theirs = DistinguishedFolderId(id=Calendar.DISTINGUISHED_FOLDER_ID, mailbox=Mailbox(email_address=address))
folder = Calendar(root=own.root, _distinguished_id=theirs)
start = datetime(2026, 12, 1, 9, tzinfo=UTC)
done = []
try:
    calendar = SingleFolderQuerySet(account=own, folder=folder).resolve()
    # what a request of several folders was refused for one of them stands in its place
    if isinstance(calendar, Exception):
        raise calendar
    # from here on by its own id: the name "calendar" would be taken for the caller's
    calendar._distinguished_id = None
    done.append("found the calendar")
    event = CalendarItem(account=own, folder=calendar, subject="Algebra", start=start, end=start + timedelta(hours=1))
    event.save(send_meeting_invitations=SEND_TO_NONE)
    done.append("made an event")
    view = {"start": start - timedelta(days=1), "end": start + timedelta(days=1)}
    found = [item.subject for item in calendar.view(**view)]
    event.delete(send_meeting_cancellations=SEND_TO_NONE)
    done.append("deleted it")
    left = [item.subject for item in calendar.view(**view)]
    print(json.dumps({"done": done, "found": found, "left": left}))
except ResponseMessageError as refused:
    print(json.dumps({"done": done, "refused": type(refused).__name__}))
