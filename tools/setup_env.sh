# shellcheck shell=sh
# Sourced by setup.sh in the checkout's folder: where the developers' tools keep what they have
# downloaded (OSGBATCH_DEV_CACHE), and a PATH on which those tools are found last.

# Without a home that can be written, programs keep their caches and records in the checkout.
if [ -z "${HOME:-}" ] || ! [ -d "$HOME" ] || ! [ -w "$HOME" ]; then
    XDG_CACHE_HOME=${XDG_CACHE_HOME:-$PWD/.cache}
    XDG_STATE_HOME=${XDG_STATE_HOME:-$PWD/.cache/state}
    export XDG_CACHE_HOME XDG_STATE_HOME
fi

if [ -z "${OSGBATCH_DEV_CACHE:-}" ]; then
    OSGBATCH_DEV_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/osgbatch-dev
    # Without user namespaces root's pool runs as an account that does not see root's home.
    if [ "$(id -u)" = 0 ] && ! unshare --user true 2>/dev/null; then
        OSGBATCH_DEV_CACHE=$PWD/.cache/osgbatch-dev
    fi
fi
if ! mkdir -p "$OSGBATCH_DEV_CACHE/bin" 2>/dev/null || ! [ -w "$OSGBATCH_DEV_CACHE" ]; then
    OSGBATCH_DEV_CACHE=$PWD/.cache/osgbatch-dev
    mkdir -p "$OSGBATCH_DEV_CACHE/bin" || exit 1
fi
OSGBATCH_DEV_CACHE=$(cd "$OSGBATCH_DEV_CACHE" && pwd)
PATH=$PATH:$OSGBATCH_DEV_CACHE/bin
export OSGBATCH_DEV_CACHE PATH
