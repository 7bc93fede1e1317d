#!/usr/bin/env python3
"""A second, independent verifier of receipt logs; receipt-format.md is its spec.

    verify.py --keys keys.json [--hmac-key FILE] [--checkpoint FILE] LOG...
    verify.py --keys keys.json [--checkpoint FILE] --proof FILE

LOG is a .jsonl or .jsonl.gz file or a log's directory. It stops at the first fault and exits
with 1, naming file, line and reason. It exits with 2 if all is well but
Ed25519 signatures were not checked, for want of the package "cryptography".
"""
import argparse, base64, gzip, hashlib, hmac, json, pathlib, re, sys

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
    if "denials" in r["body"]:
        check_denials(r["kind"], r["body"])
    return r


def check_denials(kind, body):
    """What stands for several denials is one itself, and tells how many, until when and by what id."""
    several, at = body["denials"], body.get("at")
    need(kind == "decision" and body.get("verdict") == "deny", "denials that are none")
    need(isinstance(several, dict) and sorted(several) == ["count", "id", "until"], "denials of another form")
    id, count, until = several["id"], several["count"], several["until"]
    need(type(count) is int and 0 < count < 2**53, "denials without a count")
    need(type(until) is int and type(at) is int and max(1, at) <= until < 2**53, "denials that end before the first")
    need(isinstance(id, str) and id.startswith("denials-") and is_hex(id[8:], 32), "denials without an id")


def kid_of(alg, material):
    prefix = b"aegis-receipt-hmac-kid-v1\n" if alg == "hmac-sha256" else b""
    return hashlib.sha256(prefix + material).hexdigest()[:16]


def leaf_hash(line):
    return hashlib.sha256(b"\0" + line).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


class Tree:
    """The right edge of a Merkle tree: its complete subtrees, largest first."""

    def __init__(self):
        self.nodes = []  # of (leaves, hash)

    def add(self, line):
        self.nodes.append((1, leaf_hash(line)))
        while len(self.nodes) > 1 and self.nodes[-1][0] == self.nodes[-2][0]:
            (size, right), (_, left) = self.nodes.pop(), self.nodes.pop()
            self.nodes.append((2 * size, node_hash(left, right)))

    def root(self):
        root = self.nodes[-1][1]
        for _, left in reversed(self.nodes[:-1]):
            root = node_hash(left, root)
        return root


def from_base64(text):
    raw = base64.b64decode(text, validate=True)
    need(base64.b64encode(raw).decode() == text, "base64 in another spelling")
    return raw


def decimal(text):
    need(re.fullmatch("0|[1-9][0-9]{0,15}", text), "not a number: " + text)
    return int(text)


class Checkpoint:
    """The text of a checkpoint, and what signatures of the given keys it has."""

    def __init__(self, text):
        self.body, _, signatures = text.partition("\n\n")
        self.body = self.body.rstrip("\n") + "\n"
        origin, size, root, end = self.body.split("\n")
        need(origin.startswith("aegis-proxy/") and is_hex(origin[12:], 32) and end == "", "not a checkpoint")
        self.origin, self.chain, self.size, self.root = origin, origin[12:], decimal(size), from_base64(root)
        need(self.size > 0 and len(self.root) == 32, "not a checkpoint")
        self.signatures = signatures.splitlines()

    def check(self, keys):
        """Insists on a good signature by one of the keys. False if it cannot check one."""
        for alg, public in keys.values():
            if alg != "ed25519":
                continue
            prefix = hashlib.sha256(self.origin.encode() + b"\n\1" + public).digest()[:4]
            for line in self.signatures:
                dash, name, encoded = line.split(" ")
                raw = from_base64(encoded)
                if (dash, name, raw[:4]) == ("\u2014", self.origin, prefix):
                    return check_ed25519(public, raw[4:], self.body.encode())
        raise Fault("the checkpoint has no signature by a key that was given")


def check_ed25519(public, sig, message):
    if Ed25519PublicKey is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(sig, message)
    except InvalidSignature:
        raise Fault("bad signature")
    return True


def check_inclusion(path, index, size, leaf, root):
    """RFC 9162, section 2.1.3.2."""
    need(index < size, "the index is past the end of the log")
    fn, sn, r = index, size - 1, leaf
    for p in path:
        need(sn > 0, "the path is too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and r == root, "the path does not lead to the checkpoint's root")


def check_consistency(path, old, new):
    """RFC 9162, section 2.1.4.2."""
    need(old.size <= new.size, "the log became shorter")
    if old.size == new.size:
        need(not path and old.root == new.root, "the log was rewritten")
        return
    if old.size & (old.size - 1) == 0:
        path = [old.root] + path
    need(path, "the path is empty")
    fn, sn = old.size - 1, new.size - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for p in path[1:]:
        need(sn > 0, "the path is too long")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(p, fr), node_hash(p, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, p)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0 and fr == old.root and sr == new.root, "the log was rewritten")


def verify_proof(args):
    try:
        checked = check_proof(args, load_keys(args))
    except (Fault, ValueError) as e:
        sys.exit("%s: %s" % (args.proof, e))
    warn(checked)


def check_proof(args, keys):
    head, _, signed = args.proof.read_bytes().decode().partition("\n\n")
    new, lines = Checkpoint(signed), head.split("\n")
    checked = new.check(keys)
    if lines[0].startswith("old "):
        need(args.checkpoint, "--checkpoint is needed too")
        old = [c for c in load_checkpoints(args.checkpoint) if c.chain == new.chain]
        need(len(old) == 1 and decimal(lines[0][4:]) == old[0].size, "the proof is not for this checkpoint")
        check_consistency([from_base64(h) for h in lines[1:]], old[0], new)
        print("chain %s: %d lines extend the earlier %d" % (new.chain, new.size, old[0].size))
        return checked
    need(lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("extra ") and lines[2].startswith("index "), "not a proof")
    line, index = from_base64(lines[1][6:]), decimal(lines[2][6:])
    r = parse(line)
    need((r["chain"], r["n"]) == (new.chain, index + 1), "the receipt is of another place")
    check_inclusion([from_base64(h) for h in lines[3:]], index, new.size, leaf_hash(line), new.root)
    print("%s\nchain %s: line %d of %d" % (line.decode(), new.chain, r["n"], new.size))
    return checked


def warn(checked):
    if not checked:
        print("Ed25519 signatures were NOT checked: pip install cryptography", file=sys.stderr)
        sys.exit(2)


class Chain:
    def __init__(self, keys, denials):
        self.tree = Tree()
        self.denials = denials  # the ids of those of all chains
        self.keys = dict(keys)  # kid -> (alg, public key or secret)
        self.n, self.hash, self.kid, self.announced = 0, "0" * 64, None, None
        self.receipts = self.sealed = 0
        self.unchecked = False

    def line(self, r, line):
        need(r["n"] == self.n + 1, "n is %d, want %d" % (r["n"], self.n + 1))
        need(r["prev"] == self.hash, "prev is not the hash of the line before: one of the two was altered")
        need(r["n"] > 1 or r["kind"] == "start", "the first line is not a start line")
        if "denials" in r["body"]:
            id = r["body"]["denials"]["id"]
            need(id not in self.denials, "another receipt has the id " + id)
            self.denials.add(id)
        handler = getattr(self, r["kind"], None)
        if handler:
            handler(r, r["body"])
        else:
            self.receipts += 1
        self.n, self.hash = r["n"], hashlib.sha256(line).hexdigest()
        self.tree.add(line)

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
        elif not check_ed25519(material, sig, message):
            self.unchecked = True


def load_checkpoints(path):
    """The checkpoints in a file, one after the other."""
    return [Checkpoint(text) for text in re.split("(?m)^(?=aegis-proxy/)", path.read_bytes().decode()) if text]


def load_keys(args):
    keys = {k["kid"]: (k["alg"], bytes.fromhex(k["public"])) for k in json.loads(args.keys.read_text()) if "public" in k}
    if args.hmac_key:
        secret = bytes.fromhex(args.hmac_key.read_text().strip().removeprefix("hmac-sha256:"))
        keys[kid_of("hmac-sha256", secret)] = ("hmac-sha256", secret)
    return keys


def segments_of(path):
    """A directory's files in order; of one that is compressed too, the plain one."""
    found = {}
    for file in sorted(path.iterdir(), reverse=True):
        if re.fullmatch(r"[0-9]{6,}\.jsonl(\.gz)?", file.name):
            found[int(file.name.split(".")[0])] = file
    return [found[number] for number in sorted(found)]


def lines_of(paths):
    for path in paths:
        for file in segments_of(path) if path.is_dir() else [path]:
            with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    yield "%s:%d" % (file, number), line


def verify(args):
    keys, chains, denials, where, checked = load_keys(args), {}, set(), "end", True
    try:
        checkpoints = load_checkpoints(args.checkpoint) if args.checkpoint else []
        for c in checkpoints:
            checked = (not c.signatures or c.check(keys)) and checked
        for where, line in lines_of(args.log):
            need(line.endswith(b"\n"), "the line is torn")
            r = parse(line[:-1])
            chain = chains.setdefault(r["chain"], Chain(keys, denials))
            chain.line(r, line[:-1])
            for c in checkpoints:
                if (c.chain, c.size) == (r["chain"], r["n"]):
                    need(chain.tree.root() == c.root, "the lines up to here are not those of the checkpoint")
        where = "end"
        for c in checkpoints:
            need(c.chain in chains and chains[c.chain].n >= c.size, "lines of the checkpoint are gone")
        for id, chain in chains.items():
            need(getattr(chain, "sealed_at", 0) == chain.n, "no seal covers the end of chain " + id)
    except (Fault, KeyError, TypeError, ValueError) as e:
        sys.exit("%s: %s" % (where, e))
    for id, chain in chains.items():
        print("chain %s: %d lines, %d of %d receipts sealed, last %s"
              % (id, chain.n, chain.sealed, chain.receipts, chain.hash))
    warn(checked and not any(c.unchecked for c in chains.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--keys", "--hmac-key", "--checkpoint", "--proof"):
        parser.add_argument(option, type=pathlib.Path, required=option == "--keys")
    parser.add_argument("log", type=pathlib.Path, nargs="*")
    args = parser.parse_args()
    if args.proof:
        verify_proof(args)
    elif not args.log:
        parser.error("name a log, or a proof with --proof")
    else:
        verify(args)
