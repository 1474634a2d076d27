"""Runs cmdlets with pypsrp, one after the other in one session: cmdlets.py URL LOGIN PASSWORD [CERTIFICATE], and on stdin a
line of JSON for each: [name, {parameter: value}]. A value {"secret": text} is sent as a SecureString. With a certificate (a
file; empty over http) it signs in by Kerberos."""

import json
import sys
from urllib.parse import urlparse

from pypsrp.complex_objects import ObjectMeta
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

address = urlparse(sys.argv[1])
if len(sys.argv) > 4:
    how = {"auth": "kerberos", "negotiate_service": "HTTP", "cert_validation": sys.argv[4] or True}
else:
    how = {"auth": "basic", "encryption": "never"}
wsman = WSMan(
    address.hostname,
    port=address.port,
    username=sys.argv[2],
    password=sys.argv[3],
    ssl=address.scheme == "https",
    path="PowerShell",
    **how,
)


def plain(value):
    """A property as a person reads it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value if isinstance(value, (bool, int, type(None))) else str(value)


def given(pool, value):
    """A parameter's value as pypsrp takes it."""
    if not isinstance(value, dict):
        return value
    pool.exchange_keys()
    return pool.serialize(value["secret"], ObjectMeta("SS"))


with RunspacePool(wsman, configuration_name="Microsoft.Exchange") as pool:
    for line in sys.stdin:
        name, parameters = json.loads(line)
        shell = PowerShell(pool)
        shell.add_cmdlet(name).add_parameters({key: given(pool, value) for key, value in parameters.items()})
        output = shell.invoke()
        objects = [{key: plain(value) for key, value in found.adapted_properties.items()} for found in output]
        errors = [error.reason for error in shell.streams.error]
        warnings = [warning.message for warning in shell.streams.warning]
        print(json.dumps({"objects": objects, "errors": errors, "warnings": warnings, "state": shell.state}))
