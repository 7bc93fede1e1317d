"""Ask aegis-proxy for leave before an agent spends money. Standard library only.

    AEGIS_URL=http://localhost:8080 TENANT_KEY=aegis-... python3 aegis_actions.py

Use it as

    aegis = Actions(url, key)
    with aegis.authorize("invoice-7", "payment", "0.25", target="acme.example") as leave:
        leave.cost = pay()  # a decimal string, as "0.21"

Leaving the block settles at that cost. An error before the cost is known leaves
the lease to expire, which charges its hold: the money may have been spent.

leave.authorization is signed, for whoever does the action. It is checked with
the keys at /.well-known/aegis-keys.json: over the bytes OXDEAI_AUTH_V1, a line
feed, and canonical(authorization without its signature). Whoever checks it takes
each auth_id once.
"""

import json
import os
import time
import urllib.error
import urllib.request

TRIES = 4  # of one request, where the answer is lost, 429 or 503
TIMEOUT_SECONDS = 10


def canonical(authorization):
    """The bytes that are signed, of an authorization or a part of one."""
    return json.dumps(authorization, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def describe(authorization):
    """Refuses an authorization that is not for now, and says what it is."""
    if authorization["decision"] != "ALLOW" or time.time() >= authorization["expiry"]:
        raise ValueError("the authorization allows nothing now")
    return f"authorization {authorization['auth_id']} of {authorization['issuer']} for {authorization['audience']}"


class Denied(Exception):
    """The answer to a request was an error: its status, code and message."""

    def __init__(self, status, error):
        super().__init__(f"{status} {error.get('code')}: {error.get('message')}")
        self.status = status
        self.code = error.get("code")
        self.error = error


class Actions:
    def __init__(self, url, key):
        self.url = url.rstrip("/") + "/aegis/v1/"
        self.key = key

    def authorize(self, id, action, amount_usd, **members):
        """Holds an amount, or raises Denied. The id makes repeats safe."""
        body = {"id": id, "action": action, "amount_usd": amount_usd, **members}
        return Leave(self, self.post("authorize", body))

    def post(self, verb, body):
        for attempt in range(1, TRIES + 1):
            try:
                return self.send(verb, body)
            except Denied as denied:
                if denied.status not in (429, 503) or attempt == TRIES:
                    raise
            except OSError:  # nobody knows whether it arrived: send the same again
                if attempt == TRIES:
                    raise
            time.sleep(0.1 * 2**attempt)

    def send(self, verb, body):
        request = urllib.request.Request(
            self.url + verb,
            data=json.dumps(body).encode(),
            headers={"Authorization": "Bearer " + self.key, "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Denied(error.code, json.load(error)["error"]) from None


class Leave:
    def __init__(self, actions, answer):
        self.actions = actions
        self.answer = answer
        self.lease = answer["lease"]
        self.authorization = answer.get("authorization")  # none where the proxy signs with HMAC
        self.cost = None

    def settle(self, amount_usd):
        return self.actions.post("settle", {"lease": self.lease, "amount_usd": amount_usd})

    def release(self):
        return self.actions.post("release", {"lease": self.lease})

    def extend(self, total_usd):
        return self.actions.post("extend", {"lease": self.lease, "total_usd": total_usd})

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if self.cost is not None:
            self.settle(self.cost)


def main():
    aegis = Actions(os.environ["AEGIS_URL"], os.environ["TENANT_KEY"])
    name = f"example-{os.getpid()}-{time.time_ns()}"

    with aegis.authorize(name, "payment", "0.25", target="acme.example", ttl_seconds=60) as leave:
        print("allowed until", leave.answer["expires_at"])
        if leave.authorization:
            print(describe(leave.authorization))
        for budget in leave.answer["remaining"]:
            print(" ", budget["budget"], "has", budget.get("left_usd", "(redacted)"), "left")
        leave.extend("0.30")
        leave.cost = "0.21"
    print("settled:", json.dumps(leave.settle("0.21")))  # a repeat is harmless

    leave = aegis.authorize(name + "-2", "tool", "0.10", tool="search")
    print("released:", json.dumps(leave.release()))

    try:
        aegis.authorize(name + "-3", "purchase", "9000000")
    except Denied as denied:
        print("denied:", denied)


if __name__ == "__main__":
    main()
