"""Asks a directory with ldap3, on one connection: directory.py URL CERTIFICATE, and on stdin a line of JSON for each step.

{"bind": [LOGIN, PASSWORD]}, {"start_tls": true}, {"who_am_i": true}, {"modify": [DN, ATTRIBUTE, VALUE]}, or a search:
{"base", "scope", "filter", "attributes", "size_limit", "types_only", "page", "cookie", "stay", "critical", "ranges"}.
A line of JSON is printed for each step. A cookie of "last" is the last one that came.
"""

import json
import ssl
import sys
from urllib.parse import urlparse

from ldap3 import ANONYMOUS, BASE, LEVEL, MODIFY_REPLACE, NONE, SIMPLE, SUBTREE, Connection, Server, Tls

url, certificate = urlparse(sys.argv[1]), sys.argv[2]
tls = Tls(validate=ssl.CERT_REQUIRED, ca_certs_data=certificate, valid_names=["localhost", "127.0.0.1"])
server = Server(url.hostname, port=url.port, use_ssl=url.scheme == "ldaps", tls=tls, get_info=NONE)
connection = Connection(
    server,
    authentication=ANONYMOUS,
    auto_range=False,
    auto_referrals=False,
    check_names=False,
    receive_timeout=30,
    return_empty_attributes=False,
)
connection.open(read_server_info=False)
cookie = None


def plain(value):
    """Bytes as a text where they are one, else in hexadecimal."""
    try:
        text = value.decode()
        return text if text.isprintable() else value.hex()
    except UnicodeDecodeError:
        return value.hex()


def search(step):
    """One page of a search, or all of it."""
    global cookie
    if step.get("cookie") == "last":
        step["cookie"] = cookie
    controls = []
    if step.get("stay"):
        controls.append(("1.2.840.113556.1.4.1339", True, None))
    if step.get("critical"):
        controls.append((step["critical"], True, None))
    given = step.get("cookie")
    connection.auto_range = step.get("ranges", False)
    connection.search(
        step["base"],
        step.get("filter", "(objectClass=*)"),
        {"base": BASE, "one": LEVEL, "sub": SUBTREE}[step.get("scope", "sub")],
        attributes=step.get("attributes", ["1.1"]),
        size_limit=step.get("size_limit", 0),
        types_only=step.get("types_only", False),
        paged_size=step.get("page"),
        paged_cookie=given.encode() if isinstance(given, str) else given,
        paged_criticality=step.get("page") is not None,
        controls=controls or None,
    )
    answers = connection.response or []
    shown = {
        "entries": [
            {
                "dn": answer["dn"],
                **{name: [plain(value) for value in values or []] for name, values in answer["raw_attributes"].items()},
            }
            for answer in answers
            if answer["type"] == "searchResEntry"
        ],
        "references": [uri for answer in answers if answer["type"] == "searchResRef" for uri in answer["uri"]],
    }
    page = (connection.result.get("controls") or {}).get("1.2.840.113556.1.4.319")
    if page:
        cookie = page["value"]["cookie"]
        shown["more"] = bool(cookie)
    return shown


for line in sys.stdin:
    step = json.loads(line)
    shown = {}
    if "bind" in step:
        connection.authentication = SIMPLE
        connection.user, connection.password = step["bind"]
        connection.bind(read_server_info=False)
    elif "start_tls" in step:
        connection.start_tls(read_server_info=False)
    elif "who_am_i" in step:
        shown["name"] = connection.extend.standard.who_am_i() or ""
    elif "modify" in step:
        name, attribute, value = step["modify"]
        connection.modify(name, {attribute: [(MODIFY_REPLACE, [value])]})
    else:
        shown = search(step)
    result = connection.result
    said = {"code": result["result"], "text": result["message"], "matched": result["dn"], "referrals": result["referrals"]}
    print(json.dumps({**said, **shown}), flush=True)
connection.unbind()
