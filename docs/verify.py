#!/usr/bin/env python3
"""A second, independent verifier of receipt logs; receipt-format.md is its spec.

    verify.py --keys keys.json [--hmac-key FILE] [--checkpoint FILE] LOG...

LOG is a .jsonl file or a log's directory. It stops at the first fault and exits
with 1, naming file, line and reason. It exits with 2 if the chain is whole but
Ed25519 seals were not checked, for want of the package "cryptography".
"""
import argparse, hashlib, hmac, json, pathlib, re, sys

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None

ENVELOPE = ["body", "chain", "kind", "n", "prev", "v"]
KINDS = {"decision", "settlement", "event", "seal", "start", "rotate"}
MAX_LINE = 65536


class Fault(Exception):
    pass


def need(ok, reason):
    if not ok:
        raise Fault(reason)


def is_hex(text, size):
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{%d}" % size, text) is not None


def unique(pairs):
    need(len(dict(pairs)) == len(pairs), "a name is there twice")
    return dict(pairs)


def no_float(text):
    raise Fault("a number that is not an integer: " + text)


def parse(line):
    """Parses one line and insists on canonical JSON."""
    need(len(line) <= MAX_LINE, "line too long")
    try:
        r = json.loads(line.decode(), object_pairs_hook=unique, parse_float=no_float, parse_constant=no_float)
        canonical = json.dumps(r, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (ValueError, RecursionError) as e:
        raise Fault("not JSON: %s" % e)
    need(canonical == line, "not canonical JSON")
    need(isinstance(r, dict) and sorted(r) == ENVELOPE, "not a receipt")
    need(type(r["v"]) is int and r["v"] == 1, "not version 1")
    need(r["kind"] in KINDS and isinstance(r["body"], dict), "unknown kind")
    need(is_hex(r["chain"], 32) and is_hex(r["prev"], 64), "chain or prev is not hex")
    need(type(r["n"]) is int and 0 < r["n"] < 2**53, "n out of range")
    return r


def kid_of(alg, material):
    prefix = b"aegis-receipt-hmac-kid-v1\n" if alg == "hmac-sha256" else b""
    return hashlib.sha256(prefix + material).hexdigest()[:16]


class Chain:
    def __init__(self, keys):
        self.keys = dict(keys)  # kid -> (alg, public key or secret)
        self.n, self.hash, self.kid, self.announced = 0, "0" * 64, None, None
        self.receipts = self.sealed = 0
        self.unchecked = False

    def line(self, r, line):
        need(r["n"] == self.n + 1, "n is %d, want %d" % (r["n"], self.n + 1))
        need(r["prev"] == self.hash, "prev is not the hash of the line before: one of the two was altered")
        need(r["n"] > 1 or r["kind"] == "start", "the first line is not a start line")
        handler = getattr(self, r["kind"], None)
        if handler:
            handler(r, r["body"])
        else:
            self.receipts += 1
        self.n, self.hash = r["n"], hashlib.sha256(line).hexdigest()

    def start(self, r, body):
        self.announced = None
        self.kid = self.kid or body["kid"]
        need(body["kid"] == self.kid, "starts with another key than the chain's")

    def rotate(self, r, body):
        public = bytes.fromhex(body.get("public", ""))
        need(body["alg"] == "hmac-sha256" or kid_of("ed25519", public) == body["kid"], "kid is not of this key")
        self.announced = (body["kid"], body["alg"], public)

    def seal(self, r, body):
        need(body["kid"] == self.kid, "sealed with another key than the chain's")
        need(self.kid in self.keys, "key %s was not given" % self.kid)
        alg, material = self.keys[self.kid]
        need(body["alg"] == alg and re.fullmatch("[0-9a-f]*", body["sig"]), "seal of another form")
        message = "\n".join(["aegis-receipt-seal-v1", alg, self.kid, r["chain"], str(r["n"]), r["prev"], ""]).encode()
        self.check(alg, material, bytes.fromhex(body["sig"]), message)
        self.sealed = self.receipts
        self.sealed_at = r["n"]
        if self.announced:
            self.kid, alg, public = self.announced
            self.announced = None
            if alg == "ed25519":
                self.keys[self.kid] = (alg, public)

    def check(self, alg, material, sig, message):
        if alg == "hmac-sha256":
            need(hmac.compare_digest(hmac.new(material, message, hashlib.sha256).digest(), sig), "bad seal")
        elif Ed25519PublicKey is None:
            self.unchecked = True
        else:
            try:
                Ed25519PublicKey.from_public_bytes(material).verify(sig, message)
            except InvalidSignature:
                raise Fault("bad seal")


def load_keys(args):
    keys = {k["kid"]: (k["alg"], bytes.fromhex(k["public"])) for k in json.loads(args.keys.read_text()) if "public" in k}
    if args.hmac_key:
        secret = bytes.fromhex(args.hmac_key.read_text().strip().removeprefix("hmac-sha256:"))
        keys[kid_of("hmac-sha256", secret)] = ("hmac-sha256", secret)
    return keys


def lines_of(paths):
    for path in paths:
        for file in sorted(path.glob("*.jsonl"), key=lambda p: int(p.stem)) if path.is_dir() else [path]:
            for number, line in enumerate(file.open("rb"), 1):
                yield "%s:%d" % (file, number), line


def verify(args):
    keys, chains, where = load_keys(args), {}, "end"
    checkpoint = json.loads(args.checkpoint.read_text()) if args.checkpoint else None
    try:
        for where, line in lines_of(args.log):
            need(line.endswith(b"\n"), "the line is torn")
            r = parse(line[:-1])
            chain = chains.setdefault(r["chain"], Chain(keys))
            chain.line(r, line[:-1])
            if checkpoint and (r["chain"], r["n"]) == (checkpoint["chain"], checkpoint["n"]):
                need(chain.hash == checkpoint["hash"], "not the line of the checkpoint")
                checkpoint = None
        where = "end"
        need(checkpoint is None, "the line of the checkpoint is gone")
        for id, chain in chains.items():
            need(getattr(chain, "sealed_at", 0) == chain.n, "no seal covers the end of chain " + id)
    except (Fault, KeyError, TypeError, ValueError) as e:
        sys.exit("%s: %s" % (where, e))
    for id, chain in chains.items():
        print("chain %s: %d lines, %d of %d receipts sealed, last %s"
              % (id, chain.n, chain.sealed, chain.receipts, chain.hash))
    if any(c.unchecked for c in chains.values()):
        print("Ed25519 seals were NOT checked: pip install cryptography", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--keys", "--hmac-key", "--checkpoint"):
        parser.add_argument(option, type=pathlib.Path, required=option == "--keys")
    parser.add_argument("log", type=pathlib.Path, nargs="+")
    verify(parser.parse_args())
