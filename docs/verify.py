#!/usr/bin/env python3
"""A second, independent verifier of receipt logs; receipt-format.md is its spec.

    verify.py --keys keys.json [--hmac-key FILE]... [--checkpoint FILE] [--complete] LOG...
    verify.py --keys keys.json [--checkpoint FILE] --proof FILE

LOG is a .jsonl or .jsonl.gz file, a log's directory, or a data directory with receipts in it.
It stops at the first fault and exits with 1, naming file, line and reason. With --complete a
number that is missing among a tenant's events is a fault too. It exits with 2 if all is well
but Ed25519 signatures were not checked, for want of the package "cryptography".
"""
import argparse, base64, gzip, hashlib, hmac, json, pathlib, re, sys, zlib

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None

# The units that are billed, in the order of the specification.
UNITS = ("input cached_input cache_write cache_write_1h cache_write_12h audio_input cached_audio_input audio_cache_write "
         "image_input cached_image_input video_input cached_video_input output reasoning audio_output image_output "
         "video_output citation characters_in characters_out images_in images_out pixels_in pixels_out audio_seconds_in "
         "audio_seconds_out video_seconds_in video_seconds_out compute_seconds pages annotated_pages requests queries "
         "messages searches map_searches file_searches tool_calls code_sessions credits").split()
# Each field with its type, a * where it is always there. A type that WORDS has is a text of that list.
FIELDS = {name: dict(field.split(":") for field in fields.split()) for name, fields in {
    "decision": "at*:count claims:claims cost*:amount denials:denials epoch:text event:count existing:flag expires:count"
                " facts:facts generation:count lease:text policy:text priced_at:count prices:text reasons:texts verdict*:verdict",
    "facts": "attempt:count beside:lines capabilities:texts choices:count counted:flag depth:count dialect:text endpoint:text"
             " extra_output:count free:flag input_bound:input_bound input_rereads:count input_tokens:count instead_of:text key:text kinds:kinds least_cap:count model:text nonce:text output_cap:count"
             " output_rereads:count output_tokens:count region:text run:text service:text services:texts stream:flag target:text tenant:text tool:text tool_results:texts tools:texts"
             " uncapped:flag upstream:text user:text",
    "denials": "count:count id:text until:count",
    "claim": "amount*:amount at_end*:at_end end:count group:text group_max:count held*:amount key*:text length_ms:count"
             " limit*:amount marks:text reason:refusal rule:text spent*:amount start:count window*:window",
    "settlement": "at*:count basis:basis charge*:amount decision:text epoch:text event:count hold*:amount lease*:text lines:lines"
                  " outcome*:outcome overrun:amount prices:text status:count tenant*:text",
    "line": "billed:amount model:text region:text service:text usage:usage variant:text",
    "usage": " ".join(unit + ":count" for unit in UNITS),
    "event": "amount:amount at*:count claims:claims epoch*:text event*:count expires:count generation:count key:text"
             " lease:text limits:limits name*:name policy:text recovered:flag switch:text tenant*:text",
    "limit": "key*:text limit*:amount",
    "start": "alg*:alg at*:count cut_bytes:count cut_file:text kid*:text reason*:start_reason software:text",
    "seal": "alg*:alg kid*:text sig*:text",
    "rotate": "alg*:alg at*:count kid*:text public:text",
}.items()}
WORDS = {name: words.split() for name, words in {
    "verdict": "allow deny",
    "input_bound": "exact bytes context caller",
    "at_end": "adjust keep spend return",
    "window": "fixed rolling idle forever",
    "refusal": "exhausted held crowded",
    "basis": "reported unbilled unknown floor",
    "outcome": "settle release correct",
    "name": "provision policy grant extend settle release expire correct kill lift",
    "alg": "ed25519 hmac-sha256",
    "start_reason": "created opened repaired",
}.items()}
LISTS = {"claims": "claim", "limits": "limit", "lines": "line"}

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
    need(type(r["v"]) is int and r["v"] == 3, "not version 3")
    need(r["kind"] in KINDS and isinstance(r["body"], dict), "unknown kind")
    need(is_hex(r["chain"], 32) and is_hex(r["prev"], 64), "chain or prev is not hex")
    need(type(r["n"]) is int and 0 < r["n"] < 2**53, "n out of range")
    check_object(r["body"], r["kind"])
    if "denials" in r["body"]:
        check_denials(r["kind"], r["body"])
    return r


def check_object(value, name):
    """Insists on the fields of the tables, and that none is spelled out though empty."""
    need(isinstance(value, dict), "%s is no object" % name)
    types = FIELDS[name]
    for field in types:
        need(not field.endswith("*") or field[:-1] in value, "%s lacks %s" % (name, field[:-1]))
    for field, one in value.items():
        always = types.get(field + "*")
        need(always or field in types, "%s has no field %s" % (name, field))
        check_value(one, always or types[field], field)
        empty = "0" if types.get(field) == "amount" else ""
        need(always or one not in (empty, "", 0, False, [], {}), "%s is there though empty" % field)


def check_value(value, type_, field):
    if type_ == "kinds":
        need(isinstance(value, list) and all(one in UNITS for one in value), "%s names no unit" % field)
        places = [UNITS.index(one) for one in value]
        need(places == sorted(set(places)), "%s is out of order" % field)
    elif type_ == "count":
        need(type(value) is int and 0 <= value < 2**53, "%s is no count" % field)
    elif type_ == "amount":
        digits = isinstance(value, str) and re.fullmatch("0|[1-9][0-9]{0,18}", value)
        need(digits and int(value) < 2**63, "%s is no amount" % field)
    elif type_ == "flag":
        need(value is True, "%s is not true" % field)
    elif type_ == "text":
        need(isinstance(value, str), "%s is no text" % field)
    elif type_ == "texts":
        need(isinstance(value, list) and all(isinstance(t, str) for t in value), "%s is no list of texts" % field)
    elif type_ in LISTS:
        need(isinstance(value, list), "%s is no list" % field)
        for one in value:
            check_object(one, LISTS[type_])
    elif type_ in WORDS:
        need(value in WORDS[type_], "%s is %r" % (field, value))
    else:
        check_object(value, type_)


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

    def add(self, leaf):
        """Returns the hashes of all subtrees that end with the leaf, as hash files have them."""
        self.nodes.append((1, leaf))
        stored = [leaf]
        while len(self.nodes) > 1 and self.nodes[-1][0] == self.nodes[-2][0]:
            (size, right), (_, left) = self.nodes.pop(), self.nodes.pop()
            self.nodes.append((2 * size, node_hash(left, right)))
            stored.append(self.nodes[-1][1])
        return stored

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
        return exit_code(check_proof(args, load_keys(args)))
    except (Fault, ValueError, OSError) as e:
        print("%s: %s" % (args.proof, e), file=sys.stderr)
        return 1


def check_proof(args, keys):
    head, _, signed = args.proof.read_bytes().decode().partition("\n\n")
    new, lines = Checkpoint(signed), head.split("\n")
    checked = new.check(keys)
    if lines[0].startswith("old "):
        need(args.checkpoint, "--checkpoint is needed too")
        old = [c for c in load_checkpoints(args.checkpoint) if c.chain == new.chain]
        old = [c for c in old if c.size == decimal(lines[0][4:])]
        need(len(old) == 1, "the proof is not for this checkpoint")
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


def exit_code(checked):
    if checked:
        return 0
    print("Ed25519 signatures were NOT checked: pip install cryptography", file=sys.stderr)
    return 2


class Chain:
    def __init__(self, id, logs):
        self.id, self.logs, self.tree = id, logs, Tree()
        self.keys = dict(logs.keys)  # kid -> (alg, public key or secret)
        self.n, self.hash, self.key, self.announced = 0, "0" * 64, None, None  # key: (kid, alg)
        self.receipts = self.sealed = self.sealed_at = self.gone = 0
        self.unchecked = False

    def line(self, r, line):
        if self.n == 0 and r["n"] > 1:
            self.stand_for(r["n"] - 1)
        need(r["n"] == self.n + 1, "n is %d, want %d" % (r["n"], self.n + 1))
        need(r["prev"] == self.hash, "prev is not the hash of the line before: one of the two was altered")
        need(r["n"] > 1 or r["kind"] == "start", "the first line is not a start line")
        if "denials" in r["body"]:
            id = r["body"]["denials"]["id"]
            need(id not in self.logs.denials, "another receipt has the id " + id)
            self.logs.denials.add(id)
        handler = getattr(self, r["kind"], None)
        if handler:
            handler(r, r["body"])
        else:
            self.receipts += 1
        self.n, self.hash = r["n"], hashlib.sha256(line).hexdigest()
        return self.grow(leaf_hash(line), self.n)

    def grow(self, leaf, n):
        stored = self.tree.add(leaf)
        for c in self.logs.checkpoints:
            if (c.chain, c.size) == (self.id, n):
                need(self.tree.root() == c.root, "the lines up to here are not those of the checkpoint")
        return stored

    def stand_for(self, n):
        """Takes hash files in place of the first n lines, which a checkpoint must vouch for."""
        need(any(c.chain == self.id and c.size >= n for c in self.logs.checkpoints), "lines 1 to %d are missing" % n)
        for number in range(1, 10**9):
            h = self.logs.hashes.pop((self.id, number), None)
            need(h and (h.first, h.prev) == (self.n + 1, self.hash) and h.last <= n, "lines %d to %d are missing" % (self.n + 1, n))
            hashes = h.hashes
            for k in range(h.first, h.last + 1):
                stored = self.grow(hashes[0], k)
                need(hashes[: len(stored)] == stored, "%s: the hashes at line %d are not of their parts" % (h.path, k))
                last, hashes = stored[0], hashes[len(stored) :]
            need(not hashes and last == leaf_hash(h.seal), "%s: its last hash is not that of its seal" % h.path)
            self.n, self.hash = h.last, hashlib.sha256(h.seal).hexdigest()
            if self.n == n:
                self.gone = self.sealed_at = n
                return

    def start(self, r, body):
        self.announced = None
        self.key = self.key or (body["kid"], body["alg"])
        need((body["kid"], body["alg"]) == self.key, "starts with another key than the chain's")

    def rotate(self, r, body):
        public = bytes.fromhex(body.get("public", ""))
        need(body["alg"] == "hmac-sha256" or kid_of("ed25519", public) == body["kid"], "kid is not of this key")
        self.announced = (body["kid"], body["alg"], public)

    def seal(self, r, body):
        self.key = self.key or (body["kid"], body["alg"])  # where the lines before are gone
        need((body["kid"], body["alg"]) == self.key, "sealed with another key than the chain's")
        kid = body["kid"]
        need(kid in self.keys, "key %s was not given" % kid)
        alg, material = self.keys[kid]
        need(body["alg"] == alg and re.fullmatch("[0-9a-f]*", body["sig"]), "seal of another form")
        message = "\n".join(["aegis-receipt-seal-v1", alg, kid, r["chain"], str(r["n"]), r["prev"], ""]).encode()
        self.check(alg, material, bytes.fromhex(body["sig"]), message)
        self.sealed = self.receipts
        self.sealed_at = r["n"]
        if self.announced:
            kid, alg, public = self.announced
            self.key, self.announced = (kid, alg), None
            if alg == "ed25519":
                self.keys[kid] = (alg, public)

    def check(self, alg, material, sig, message):
        if alg == "hmac-sha256":
            need(hmac.compare_digest(hmac.new(material, message, hashlib.sha256).digest(), sig), "bad seal")
        elif not check_ed25519(material, sig, message):
            self.unchecked = True


class HashFile:
    """The hash file of one segment: a header, the last line, the hashes and a sum."""

    def __init__(self, path):
        self.path, self.data = path, path.read_bytes()
        head, self.seal, rest = self.data.split(b"\n", 2)
        need(hashlib.sha256(self.data[:-32]).digest() == self.data[-32:], "was altered: its SHA-256 is another")
        fields, seal = json.loads(head), parse(self.seal)
        need(seal["kind"] == "seal" and sorted(fields) == ["bytes", "first", "prev", "v"] and fields["v"] == 1, "not a hash file")
        self.chain, self.first, self.prev, self.last = seal["chain"], fields["first"], fields["prev"], seal["n"]
        self.hashes = [rest[i : i + 32] for i in range(0, len(rest) - 32, 32)]


class Segment:
    """A file of receipts while it is read, and the hash file that it gives."""

    def __init__(self, file, number):
        self.file, self.number, self.chain, self.bytes, self.hashes = file, number, None, 0, []

    def add(self, r, line, stored):
        if not self.bytes:
            self.first, self.prev = r["n"], r["prev"]
        self.chain, self.last = r["chain"], line
        self.bytes += len(line) + 1
        self.hashes += stored

    def hash_file(self):
        head = {"bytes": self.bytes, "first": self.first, "prev": self.prev, "v": 1}
        data = json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.last + b"\n" + b"".join(self.hashes)
        return data + hashlib.sha256(data).digest()


def load_checkpoints(path):
    """The checkpoints in a file, one after the other."""
    texts = [text for text in re.split("(?m)^(?=aegis-proxy/)", path.read_bytes().decode()) if text]
    need(texts, "the file has no checkpoint")
    need(all(len(text.encode()) <= 32768 for text in texts), "a checkpoint is too long")
    return [Checkpoint(text) for text in texts]


def load_keys(args):
    keys = {k["kid"]: (k["alg"], bytes.fromhex(k["public"])) for k in json.loads(args.keys.read_text()) if "public" in k}
    for file in args.hmac_key:
        secret = bytes.fromhex(file.read_text().strip().removeprefix("hmac-sha256:"))
        keys[kid_of("hmac-sha256", secret)] = ("hmac-sha256", secret)
    return keys


def segment_number(name, suffix):
    """The number in a file's name, 0 if it is not one of a log."""
    m = re.fullmatch(r"([0-9]{6}|[1-9][0-9]{6,})" + suffix, name)
    return int(m[1]) if m else 0


def opened(file):
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")


def chain_of(file):
    with opened(file) as lines:
        line = lines.readline(MAX_LINE + 2)
    try:
        return parse(line.rstrip(b"\n"))["chain"]
    except Fault:
        return "directory %s" % file.parent


def same(a, b):
    with opened(a) as x, opened(b) as y:
        while True:
            p, q = x.read(1 << 20), y.read(1 << 20)
            if p != q or not p:
                return p == q


class Logs:
    """What the paths hold: the files of each chain in order, and their hash files."""

    def __init__(self, args):
        self.keys, self.denials, self.chains, self.events = load_keys(args), set(), {}, {}
        self.checkpoints = load_checkpoints(args.checkpoint) if args.checkpoint else []
        self.hashes, self.logs = {}, {}
        where = {}  # directory -> key of its log
        for path in args.log:
            path = path / "receipts" if (path / "receipts").is_dir() else path
            files = self.files_of(path) if path.is_dir() else [path]
            need(files, "%s holds no receipts" % path)
            for file in files:
                key = where.get(file.parent) or chain_of(file)
                number = segment_number(file.name, r"\.jsonl(\.gz)?")
                if number:
                    where[file.parent] = key
                else:
                    key = str(file)
                log = self.logs.setdefault(key, [])
                if not any(n == number and same(other, file) for n, other in log):
                    log.append((number, file))

    def files_of(self, path):
        """A directory's files; of one that is compressed too, the plain one."""
        found = {}
        for file in sorted(path.iterdir(), reverse=True):
            if segment_number(file.name, r"\.jsonl(\.gz)?"):
                found[segment_number(file.name, r"\.jsonl(\.gz)?")] = file
            if segment_number(file.name, r"\.hashes"):
                self.hash_file(file)
        return list(found.values())

    def hash_file(self, file):
        try:
            h = HashFile(file)
        except (Fault, ValueError, KeyError, TypeError) as e:
            raise Fault("%s: %s" % (file, e))
        key = (h.chain, segment_number(file.name, r"\.hashes"))
        need(key not in self.hashes, "%s: another directory has one of the same lines" % file)
        self.hashes[key] = h

    def lines(self):
        """Every line with its segment, in the order of the files' numbers."""
        for key, log in self.logs.items():
            empty = True
            for number, file in sorted(log, key=lambda one: one[0]):
                segment = Segment(file, number)
                with opened(file) as lines:
                    for at, line in enumerate(iter(lambda: lines.readline(MAX_LINE + 2), b""), 1):
                        empty = False
                        yield "%s:%d" % (file, at), line, segment
                if segment.chain and (segment.chain, number) in self.hashes:
                    h = self.hashes.pop((segment.chain, number))
                    need(h.data == segment.hash_file(), "%s: it is not the one that %s gives" % (h.path, file))
            need(not empty, "%s holds no line" % file)

    def take(self, line, segment):
        need(line.endswith(b"\n"), "the line is torn or too long")
        r, line = parse(line[:-1]), line[:-1]
        need(segment.chain in (None, r["chain"]) or r["n"] == 1, "a line of another chain")
        chain = self.chains.setdefault(r["chain"], Chain(r["chain"], self))
        segment.add(r, line, chain.line(r, line))
        self.event(r)

    def event(self, r):
        """Notes what a receipt says of its tenant's event."""
        b = r["body"]
        if r["kind"] == "decision" and b["verdict"] == "allow" and "lease" in b and "existing" not in b:
            ledger, fact = (b.get("facts", {}).get("tenant", ""), b.get("epoch", "")), ("grant", b["lease"], "0", "", "[]")
        elif r["kind"] == "settlement":
            ledger, fact = (b["tenant"], b.get("epoch", "")), (b["outcome"], b["lease"], b["charge"], "", "[]")
        elif r["kind"] == "event":
            ledger = (b["tenant"], b["epoch"])
            fact = (b["name"], b.get("lease", ""), b.get("amount", "0"), b.get("switch", ""), json.dumps(b.get("limits", [])))
        else:
            return
        number = b.get("event", 0)
        if not number:
            return
        before, owned = self.events.setdefault(ledger, {}).get(number, (fact, False))
        need(before == fact, "event %d of tenant %s is told otherwise before" % (number, ledger[0]))
        need("recovered" in b or not owned, "event %d of tenant %s has a receipt already" % (number, ledger[0]))
        self.events[ledger][number] = (fact, owned or "recovered" not in b)

    def end(self, complete):
        """Checks what only the end tells. False if a signature could not be checked."""
        checked = True
        for c in self.checkpoints:
            need(c.chain in self.chains and self.chains[c.chain].n >= c.size, "lines of the checkpoint are gone")
            checked = (not c.signatures or c.check(self.chains[c.chain].keys)) and checked
        for id, chain in self.chains.items():
            need(chain.sealed_at == chain.n, "no seal covers the end of chain " + id)
            checked = checked and not chain.unchecked
        for h in self.hashes.values():
            raise Fault("%s: it is of lines that are not here" % h.path)
        for (tenant, _), numbers in self.events.items():
            need(not complete or len(numbers) == max(numbers), "events of tenant %s are in no receipt" % tenant)
        return checked


def verify(args):
    where = "start"
    try:
        logs = Logs(args)
        for where, line, segment in logs.lines():
            logs.take(line, segment)
        where = "end"
        checked = logs.end(args.complete)
    except (Fault, KeyError, TypeError, ValueError, OSError, EOFError, zlib.error) as e:
        print("%s: %s" % (where, e), file=sys.stderr)
        return 1
    for id, chain in logs.chains.items():
        print("chain %s: %d lines, %d of %d receipts sealed, last %s"
              % (id, chain.n, chain.sealed, chain.receipts, chain.hash))
    return exit_code(checked)


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for option in ("--keys", "--checkpoint", "--proof"):
        parser.add_argument(option, type=pathlib.Path, required=option == "--keys")
    parser.add_argument("--hmac-key", type=pathlib.Path, action="append", default=[])
    parser.add_argument("--complete", action="store_true")
    parser.add_argument("log", type=pathlib.Path, nargs="*")
    args = parser.parse_args(argv)
    if args.proof:
        return verify_proof(args)
    if not args.log:
        parser.error("name a log, or a proof with --proof")
    return verify(args)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
