# shellcheck shell=bash
# What deploy/up and tests/run share: say things, see what is missing, install it, find the build.
# Sourced by bash with `root` set to the repository's top folder; changes nothing by being sourced.

: "${root:?deploy/lib.sh wants root set to the top folder of the repository}"
assume_yes=no

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

is_debian() {
    command -v apt-get >/dev/null && grep -Eqs '^ID(_LIKE)?=.*(debian|ubuntu)' /etc/os-release
}

# have NEED: is it there already, wherever it came from?
have() {
    case $1 in
        linker) command -v cc >/dev/null ;;
        rabbitmq) compgen -G "/usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server" >/dev/null || command -v rabbitmq-server >/dev/null ;;
        mosquitto) [ -x /usr/sbin/mosquitto ] || [ -x /usr/local/sbin/mosquitto ] ;;
        postgresql) compgen -G "/usr/lib/postgresql/*/bin/initdb" >/dev/null || command -v initdb >/dev/null ;;
        certificates) [ -n "${SSL_CERT_FILE:-}" ] || [ -d /etc/pki ] || [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/ssl/cert.pem ] ;;
        venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
        node) command -v npm >/dev/null && node_is_enough "$(node --version 2>/dev/null)" ;;
        chromium) command -v chromium >/dev/null ;;
        mosquitto-clients) command -v mosquitto_pub >/dev/null && command -v mosquitto_sub >/dev/null ;;
        curl | git) command -v "$1" >/dev/null ;;
        *) die "deploy/lib.sh does not know the need '$1'" ;;
    esac
}

# Debian's packages for a need, and the same said to people on other systems.
packages_for() {
    case $1 in
        linker) echo gcc libc6-dev ;;
        rabbitmq) echo rabbitmq-server ;;
        postgresql) echo postgresql ;;
        certificates) echo ca-certificates ;;
        venv) echo python3 python3-venv ;;
        # Packages that are not Debian's own may hold npm as well, and then shut Debian's out.
        node) if grep -q '^Conflicts:.*npm' <<<"$(apt-cache show nodejs)"; then echo nodejs; else echo nodejs npm; fi ;;
        chromium | curl | git | mosquitto | mosquitto-clients) echo "$1" ;;
    esac
}

describe() {
    case $1 in
        linker) echo "a C compiler and linker as 'cc' (gcc or clang, with the C library's headers)" ;;
        rabbitmq) echo "RabbitMQ 3.10 or newer, with its rabbitmq-server on PATH (it need not run: the hub starts a private node), or a running one: set CROSSDOCK_RABBITMQ__URL and CROSSDOCK_RABBITMQ__MANAGEMENT_URL" ;;
        mosquitto) echo "mosquitto 2.0 or newer with its plugins (it need not run: tests start brokers of their own)" ;;
        postgresql) echo "PostgreSQL 13 or newer, with its initdb on PATH (it need not run: tests start servers of their own)" ;;
        certificates) echo "the CA certificates (ca-certificates)" ;;
        venv) echo "Python 3.10 or newer with the modules venv and ensurepip" ;;
        node) echo "Node 20.19 or newer (of 22: 22.13 or newer) with npm" ;;
        chromium) echo "Chromium, as 'chromium' on PATH" ;;
        mosquitto-clients) echo "mosquitto's clients, mosquitto_pub and mosquitto_sub" ;;
        curl | git) echo "$1" ;;
    esac
}

# require NEED...: installs what is missing on Debian and Ubuntu, elsewhere says what to install and ends.
require() {
    local need missing=() packages=()
    for need in "$@"; do
        have "$need" || missing+=("$need")
    done
    [ ${#missing[@]} -gt 0 ] || return 0

    if ! is_debian; then
        say "This is not Debian or Ubuntu, so nothing was installed. Please install:"
        for need in "${missing[@]}"; do say "  - $(describe "$need")"; done
        die "and start this again."
    fi
    for need in "${missing[@]}"; do
        # shellcheck disable=SC2207 # package names have no spaces
        packages+=($(packages_for "$need"))
    done
    install_packages "${packages[@]}"
    for need in "${missing[@]}"; do
        have "$need" || die "Still missing after installing ${packages[*]}: $(describe "$need")"
    done
}

install_packages() {
    local as_root=()
    say "Missing here: Debian packages $*"
    case " $* " in
        *" rabbitmq-server "*)
            say "The rabbitmq-server package normally starts a broker for the whole system. The hub does not use that one,"
            say "so it is kept from starting, now and at boot (to have it: sudo systemctl unmask --now rabbitmq-server)." ;;
    esac
    case " $* " in
        *" mosquitto "*)
            say "The mosquitto package normally starts a broker for the whole system. The tests use brokers of their own, so it is"
            say "kept from starting, now and at boot (to have it: sudo systemctl unmask --now mosquitto)." ;;
    esac
    case " $* " in
        *" postgresql "*)
            say "The postgresql package normally starts a server for the whole system. The tests use servers of their own, so"
            say "it is kept from starting, now and at boot (to have it: sudo pg_ctlcluster VERSION main start, and 'auto' in"
            say "/etc/postgresql/VERSION/main/start.conf)." ;;
    esac
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "Neither root nor sudo here. As root, run: $root/deploy/install-packages $*"
        as_root=(sudo)
        if [ "$assume_yes" != yes ]; then
            [ -t 0 ] || die "Nobody to ask for leave to use sudo: start this again with --yes, or as root run: $root/deploy/install-packages $*"
            local answer
            read -r -p "Install them with sudo? [y/N] " answer
            case $answer in [yY] | [yY][eE][sS]) ;; *) die "Nothing installed." ;; esac
        fi
    fi
    "${as_root[@]}" "$root/deploy/install-packages" "$@" >&2 || die "The packages could not be installed."
}

# Ends with one clear sentence unless a cargo new enough for this workspace is there.
require_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    if ! command -v cargo >/dev/null; then
        die "Rust $wanted or newer is needed and no cargo is on PATH: install it from https://rustup.rs, open a new shell and start this again."
    fi
    found=$(cargo --version | sed -n 's/^cargo \([0-9.]*\).*/\1/p')
    [ -n "$found" ] || die "$(command -v cargo) does not run: cargo --version printed no version."
    if [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]; then
        die "Rust $wanted or newer is needed and $(command -v cargo) is $found: run 'rustup update stable' (https://rustup.rs where there is no rustup) and start this again."
    fi
}

# node_is_enough VERSION: can the pages be built with it? As `engines` in crates/web/package.json.
node_is_enough() {
    local major minor
    IFS=. read -r major minor _ <<<"${1#v}"
    case $major in
        '' | *[!0-9]*) return 1 ;;
        20) [ "$minor" -ge 19 ] ;;
        22) [ "$minor" -ge 13 ] ;;
        *) [ "$major" -ge 24 ] ;;
    esac
}

# Ends with one clear sentence unless there is a Node that can build the pages. Debian's is taken where it is new enough.
require_node() {
    local found candidate
    if have node; then return; fi
    if is_debian; then
        candidate=$(apt-cache policy nodejs | sed -n 's/^ *Candidate: \([0-9.]*\).*/\1/p')
        if node_is_enough "$candidate"; then
            require node
            return
        fi
    fi
    found="no node with npm is on PATH"
    if command -v node >/dev/null; then found="$(command -v node) is $(node --version 2>/dev/null || echo broken)"; fi
    if command -v node >/dev/null && ! command -v npm >/dev/null; then found="$found, without npm"; fi
    die "Node 20.19 or newer (of 22: 22.13 or newer) with npm is needed to build the pages, and $found: install it from https://nodejs.org and start this again. Debian 12's own nodejs is too old; Debian packages of newer ones are at https://github.com/nodesource/distributions."
}

# What the pages are built with, as the lock file has it; nothing of it is run while it is installed.
web_tools() {
    local web=$root/crates/web
    if ! cmp -s "$web/package-lock.json" "$web/node_modules/.installed.json"; then
        say "Installing what the pages are built with…"
        npm ci --prefix "$web" --ignore-scripts --no-audit --no-fund --loglevel=error >&2 || return 1
        cp "$web/package-lock.json" "$web/node_modules/.installed.json"
    fi
}

# Builds the client and the pages that the hub embeds, unless those that are there were made of the same sources.
build_web() {
    local web=$root/crates/web sources folder
    sources=$(web_sources) || return 1
    for folder in dashboard storefront; do
        if [ "$(cat "$web/$folder/dist/.built" 2>/dev/null)" = "$sources" ]; then continue; fi
        web_tools || return 1
        say "Building the pages…"
        npm run --prefix "$web" --silent build >&2 || return 1
        printf '%s\n' "$sources" | tee "$web"/{dashboard,storefront}/dist/.built >/dev/null
        return
    done
}

# One line that changes with anything that the pages are built from.
web_sources() {
    (
        cd "$root" || exit
        find docs/openapi.json crates/web/package-lock.json crates/web/compressed.ts crates/web/{client,dashboard,storefront} \
            \( -name node_modules -o -path '*/dist' -o -name schema.d.ts \) -prune -o -type f -print0 |
            LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
    )
}

# The folder cargo builds into, whether from CARGO_TARGET_DIR, a cargo configuration or the default.
target_directory() {
    cargo metadata --no-deps --format-version 1 --manifest-path "$root/Cargo.toml" |
        sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
