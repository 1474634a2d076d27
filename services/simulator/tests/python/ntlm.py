"""Signs in by NTLM with requests_ntlm, which binds its answer to the server's certificate: ntlm.py URL LOGIN PASSWORD, and on
stdin the certificate. Prints what two requests on one connection were answered."""

import json
import sys
import tempfile

import requests
from requests_ntlm import HttpNtlmAuth

url, login, password = sys.argv[1:]
with tempfile.NamedTemporaryFile("w", suffix=".pem") as certificate, requests.Session() as session:
    certificate.write(sys.stdin.read())
    certificate.flush()
    # Nothing of the environment stands before it.
    session.trust_env = False
    session.verify = certificate.name
    session.auth = HttpNtlmAuth(login, password)
    # Not a request of EWS, which whoever is let in is told.
    codes = [session.post(url, data="?", headers={"Content-Type": "text/plain"}).status_code for _ in range(2)]
print(json.dumps({"codes": codes}))
