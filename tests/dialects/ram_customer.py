"""Remote Agent Manager's example for customers: what a key sees, shown in either header."""

import requests

from telling import CREDENTIAL, URL, answer, bearer, did

for headers in (bearer(CREDENTIAL), {"X-API-Key": CREDENTIAL}):
    profile = answer(requests.get(f"{URL}/api/customer/profile", headers=headers))
    agents = answer(requests.get(f"{URL}/api/customer/agents", headers=headers))
    scripts = answer(requests.get(f"{URL}/api/customer/scripts", headers=headers))
    did("looked", header=list(headers)[0], profile=profile, agents=agents, scripts=scripts)
