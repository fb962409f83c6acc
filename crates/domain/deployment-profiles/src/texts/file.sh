# Checks or writes a file.
main() {
    set -u
    umask 022
    path=${MUSTER_PATH-} mode=${MUSTER_MODE-} url=${MUSTER_URL-} sum=${MUSTER_SHA256-}
    case $path in
        /*) ;;
        *) fail 2 "MUSTER_PATH is no absolute path" ;;
    esac
    case $mode in
        *[!0-7]*) fail 2 "MUSTER_MODE is no number of octal digits" ;;
    esac
    [ ${#sum} -eq 64 ] || fail 2 "MUSTER_SHA256 is no SHA-256 in hexadecimal digits"

    case ${MUSTER_OPERATION-} in
        check) is_right || exit 1 ;;
        apply) is_right || write ;;
        *) fail 2 "MUSTER_OPERATION is neither 'check' nor 'apply'" ;;
    esac
}

fail() {
    status=$1
    shift
    printf 'muster: %s\n' "$*" >&2
    exit "$status"
}

is_right() {
    [ -f "$path" ] && [ ! -L "$path" ] && [ "$(sha256 "$path")" = "$sum" ] || return 1
    # The shell reads a number that begins with 0 as octal.
    [ -z "$mode" ] || [ "$((0$mode))" -eq "$((0$(status_of "$path" %a %Mp%Lp)))" ]
}

sha256() {
    if command -v sha256sum >/dev/null; then
        sha256sum <"$1"
    else
        shasum -a 256 <"$1"
    fi | cut -c 1-64
}

# In the format of Linux or that of macOS.
status_of() {
    stat -c "$2" "$1" 2>/dev/null || stat -f "$3" "$1"
}

write() {
    if [ -L "$path" ]; then
        fail 4 "$path is a symbolic link: name the file that it leads to, or remove it"
    fi
    case $path in
        */ | */. | */..) fail 4 "$path is a folder: name a file in it" ;;
    esac
    if [ -e "$path" ] && [ ! -f "$path" ]; then
        fail 4 "$path is a folder or no ordinary file: name another one, or remove it"
    fi
    folder=${path%/*}
    mkdir -p "$folder/" || fail $? "the folder of $path can't be made: it says why above"
    temporary=$(mktemp "$folder/.muster.XXXXXX") ||
        fail $? "nothing can be written next to $path: it says why above"
    trap 'rm -f "$temporary"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    fetch || fail 5 "the content of $path can't be fetched: see that there is room for it on the" \
        "disk, and that this machine reaches its address"
    [ "$(sha256 "$temporary")" = "$sum" ] ||
        fail 3 "the content for $path has another SHA-256 than expected: nothing was replaced"
    if [ -f "$path" ]; then
        mode=${mode:-$(status_of "$path" %a %Mp%Lp)}
        chown "$(status_of "$path" %u:%g %u:%g)" "$temporary" ||
            fail $? "the owner of $path can't be kept: run the agent as root, or remove the file"
    fi
    chmod "${mode:-0644}" "$temporary" || fail $? "$path can't get its mode: it says why above"
    mv -f "$temporary" "$path" || fail $? "$path can't be replaced: it says why above"
    # Where SELinux rules, the name of a file decides who reaches it.
    if command -v restorecon >/dev/null; then
        restorecon "$path" || :
    fi
}

fetch() {
    case $url in
        '')
            # Older ones of macOS know the second only.
            if printf 'AA==' | base64 -d >/dev/null 2>&1; then decode=-d; else decode=-D; fi
            printf %s "${MUSTER_CONTENT-}" | base64 $decode >"$temporary" ;;
        http://* | https://*)
            if command -v curl >/dev/null; then
                curl -fsSLg --retry 3 --connect-timeout 30 -o "$temporary" "$url"
            elif command -v wget >/dev/null; then
                wget -q -T 30 -O "$temporary" "$url"
            else
                fail 2 "there is neither curl nor wget to download with: install one of them"
            fi ;;
        /* | file:///*) cat -- "${url#file://}" >"$temporary" ;;
        *) fail 2 "MUSTER_URL is neither an address nor an absolute path" ;;
    esac
}

main "$@" # What is appended to this line is a comment.
