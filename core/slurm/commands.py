"""The commands that a cluster is asked with: constant scripts whose values are positional, each one round trip.

Each line of a script's answer begins with @ and a name, so that a login's greetings do not matter, and the last is
@end, so that an answer cut short is no answer. What a cut connection leaves running is shut out by a lock that even
sbatch holds: nobody looks for a job while another may still be making it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from sluiceway.core.errors import ResourcesInvalid
from sluiceway.core.remote.shell import Command
from sluiceway.core.slurm.parse import ACCOUNT_FIELDS, QUEUE_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import PurePosixPath

    from sluiceway.core.slurm.job import JobId, JobSpec

# The last file of a bundle: where it is there, all are.
LAST_FILE = ".staged"
STANDING_FIELDS = "State:|,TimeLeft:|,NodeList:|,Reason:|"

_STAGE: LiteralString = """
set -eu
umask 077
mkdir -p -- "$1"
cd -- "$1"
exec 9>>submit.lock
! command -v flock >/dev/null || flock -w 90 9
if [ -s submit.began ]; then
    cat >/dev/null
    echo "@began $(cat submit.began)"
else
    rm -f -- "$2"
    tar -xf - --no-same-owner
    [ -e "$2" ] || { echo "the bundle did not arrive whole" >&2; exit 74; }
fi
echo @end
"""

_ASK: LiteralString = """
t=$(mktemp -d) || exit 73
trap 'rm -rf -- "$t"' EXIT
mark() { LC_ALL=C awk -v mark="$1 " '{ print mark $0 }' "$2"; }
ask() {
    tag=$1; shift
    code=0
    timeout 40 env SLURM_TIME_FORMAT=%s "$@" >"$t/out" 2>"$t/err" </dev/null || code=$?
    mark "@$tag" "$t/out"; mark "@$tag!" "$t/err"; echo "@$tag= $code"
}
queue() { ask queue squeue ${cluster:+-M "$cluster"} -h -r -t all -u "$(id -u)" ${1:+-n "$1"} -O "$2"; }
"""

_FIND: LiteralString = (
    _ASK
    + """
cluster=$1
queue "$2" "$3"
if [ "$code" = 0 ] && [ ! -s "$t/out" ]; then
    ask account sacct ${cluster:+-M "$cluster"} -D -n -P -u "$(id -u)" -S "$4" --name="$2" --format="$5"
fi
echo @end
"""
)

# sbatch runs only where the folder says nothing of a submit before this one, and squeue knows no such name.
_SUBMIT: LiteralString = (
    _ASK
    + """
cluster=$1 token=$2 fields=$3 account=$4 folder=$5 may_submit=$6 mark=$7 trace=$8
shift 8
umask 077
cd -- "$folder" || exit 66
exec 9>>submit.lock || exit 73
if command -v flock >/dev/null && ! flock -w 90 9; then
    echo "another submit holds the lock" >&2
    exit 75
fi
began=$(cat submit.began 2>/dev/null)
[ -z "$began" ] || echo "@began $began"
queue "$token" "$fields"
if [ "$code" = 0 ] && [ ! -s "$t/out" ]; then
    if [ -z "$began" ] && [ "$may_submit" = yes ]; then
        echo "$(date +%s) $mark" >submit.began.new && sync -- submit.began.new && mv -f submit.began.new submit.began &&
        : >submit.answer || exit 73
        code=0
        timeout 300 "$@" >submit.answer 2>submit.said </dev/null || code=$?
        sync -- submit.answer
        mark @sbatch submit.answer; mark @sbatch! submit.said; echo "@sbatch= $code"
    elif [ -n "$began" ]; then
        since=$(date -d "@$((${began%% *} - 86400))" +%Y-%m-%dT%H:%M:%S)
        ask account sacct ${cluster:+-M "$cluster"} -D -n -P -u "$(id -u)" -S "$since" --name="$token" \
            --format="$account"
        mark @answer submit.answer
        [ ! -e "$trace" ] || echo "@traces yes"
    fi
fi
echo @end
"""
)

_ACCOUNT: LiteralString = (
    _ASK
    + """
cluster=$1
ask account sacct ${cluster:+-M "$cluster"} -D -n -P -j "$2" --format="$3"
echo @end
"""
)

# What a submit left behind that came to nothing; what another one wrote meanwhile stays.
_WITHDRAW: LiteralString = """
cd -- "$1" || exit 66
exec 9>>submit.lock
! command -v flock >/dev/null || flock -w 90 9 || exit 75
case "$(cat submit.began 2>/dev/null)" in *" $2") rm -f -- submit.began ;; esac
echo @end
"""

_CANCEL: LiteralString = (
    _ASK
    + """
cluster=$1 jobs=$2 fields=$3
ask cancel scancel ${cluster:+-M "$cluster"} $jobs
queue "" "$fields"
echo @end
"""
)

_QUEUE: LiteralString = (
    _ASK
    + """
cluster=$1
queue "" "$2"
echo @end
"""
)

# A job of the same name may be somebody else's attempt at the same run: another home's, with the same base there.
_REMOVE_RUNS: LiteralString = (
    _ASK
    + """
cluster=$1 folder=$2
shift 2
ask names squeue ${cluster:+-M "$cluster"} -h -u "$(id -u)" -o %j
[ "$code" = 0 ] || exit 69
for name; do
    start=$(printf %.20s "$name")
    grep -q "^sw-$start-a" "$t/out" || { rm -rf -- "$folder/$name" && echo "@gone $name"; }
done
echo @end
"""
)

# A link whose target is called by a digest is a reference, whatever folder that is in. Without a whole list of them,
# nothing goes; nor does what was looked for lately, for a run may be about to link to it.
_REMOVE_KEPT: LiteralString = """
export LC_ALL=C
cd -- "$1" 2>/dev/null || { echo @end; exit; }
t=$(mktemp -d) || exit 73
trap 'rm -rf -- "$t"' EXIT
if [ -d "$2" ]; then
    find "$2" -type l -printf '%l\\n' >"$t/links" || exit 74
else
    : >"$t/links"
fi
sed 's|.*/||' "$t/links" | sort -u >"$t/used"
if [ "$3" ]; then
    find . -maxdepth 1 -type f -mmin "+$3" -printf '%f\\n' | sort >"$t/old" || exit 74
else
    sort -u >"$t/old" || exit 74
fi
comm -13 "$t/used" "$t/old" | while IFS= read -r name; do rm -f -- "$name" && echo "@gone $name"; done
echo @end
"""

_STANDING: LiteralString = (
    _ASK
    + """
cluster=$1
ask queue squeue ${cluster:+-M "$cluster"} -h -t all -j "$2" -O "$3"
echo @end
"""
)

# The mark tells what srun printed from what the login shell did, and a step that began from one that could not.
_STEP: LiteralString = """
touch -c -- "$1"
printf '%s output\\n' "$2"
shift 2
exec "$@"
"""
# A step outlives an srun that was killed.
_END_STEP: LiteralString = """
squeue ${1:+-M "$1"} -h -s -j "$2" -o '%i %j' | awk -v mark="$3" '$2 == mark { print $1 }' |
    xargs -r scancel ${1:+-M "$1"}
"""
_BEGIN: LiteralString = 'echo "$0 began" >&2; exec "$@"'

# Standard input tells what to look at, a line each, tabs between: n NAME, and f KEY OFFSET PATH. A file that is shorter
# than it was is one whose size a network file system has not heard of yet: jobs append, and nothing is told twice.
_WATCH: LiteralString = (
    _ASK
    + """
export LC_ALL=C
cluster=$1 fields=$2 jobs=$3 account=$4 room=$5 share=$6
tab=$(printf '\\t')
cat >"$t/asked"
names=$(awk -F'\\t' '$1 == "n" { print $2 }' "$t/asked" | paste -sd, -)
# No argument may be longer than 128 KiB; with that many jobs, all of the user's are asked for.
[ "${#names}" -lt 120000 ] || names=
queue "$names" "$fields"
[ -z "$jobs" ] || ask account sacct ${cluster:+-M "$cluster"} -D -n -P -j "$jobs" --format="$account"
awk -F'\\t' '$1 == "f" { print $4 }' "$t/asked" | xargs -r -d '\\n' stat -L -c '%s\t%n' -- >"$t/sizes" 2>/dev/null
awk -F'\\t' 'NR == FNR { size[substr($0, index($0, FS) + 1)] = $1; next }
    $1 == "f" && ($4 in size) && size[$4] > $3 { print $2 FS $3 FS size[$4] FS $4 }' \
    "$t/sizes" "$t/asked" >"$t/grown"
while IFS=$tab read -r key offset size path; do
    more=$((size - offset))
    [ "$more" -le "$share" ] || { more=$share; echo "@more $key"; }
    [ "$more" -le "$room" ] || { echo "@more $key"; continue; }
    room=$((room - more))
    printf '@file %s %s ' "$key" "$offset"
    tail -c "+$((offset + 1))" -- "$path" | head -c "$more" | base64 -w 0
    echo
done <"$t/grown"
echo @end
"""
)


def stage(folder: PurePosixPath, bundle: bytes) -> Command:
    """Unpack a bundle there, unless a job was begun from that folder already."""
    return Command.script(_STAGE, str(folder), LAST_FILE, stdin=bundle)


def find(token: str, *, since: str, cluster: str = "") -> Command:
    """Ask squeue for our jobs of that name, and accounting where squeue knows none."""
    return Command.script(_FIND, cluster, token, QUEUE_FIELDS, since, ACCOUNT_FIELDS)


def submit(spec: JobSpec, *, may_submit: bool, mark: str, cluster: str = "") -> Command:
    """Look for the job under the folder's lock; where none was ever begun, and it may, run sbatch."""
    trace = str(spec.stdout).replace("%a", "0")
    permission = "yes" if may_submit else "no"
    values = (cluster, spec.token, QUEUE_FIELDS, ACCOUNT_FIELDS, str(spec.folder), permission, mark, trace)
    return Command.script(_SUBMIT, *values, *sbatch(spec, cluster=cluster))


def withdraw(folder: PurePosixPath, *, mark: str) -> Command:
    """Take back that folder's word of a submit, which is known by its mark and has come to nothing."""
    return Command.script(_WITHDRAW, str(folder), mark)


def sbatch(spec: JobSpec, *, cluster: str = "") -> tuple[str, ...]:
    """The call of sbatch itself: what names the job and its files, which no directive could say of any path."""
    return (
        "sbatch",
        "--parsable",
        *(("-M", cluster) if cluster else ()),
        f"--job-name={spec.token}",
        f"--comment={spec.comment}",
        f"--chdir={spec.folder}",
        f"--output={_pattern(spec.stdout)}",
        f"--error={_pattern(spec.stderr)}",
        str(spec.script),
    )


def estimate(script: bytes, *, cluster: str = "") -> Command:
    """Ask when a script would start; nothing is submitted."""
    chosen = ("-M", cluster) if cluster else ()
    return Command.of("env", "SLURM_TIME_FORMAT=%s", "sbatch", "--test-only", *chosen, stdin=script)


def cancel(jobs: Iterable[JobId], *, cluster: str = "") -> Command:
    """Cancel jobs, and say what squeue tells of ours right after."""
    return Command.script(_CANCEL, cluster, " ".join(map(str, jobs)), QUEUE_FIELDS)


def account(jobs: Iterable[JobId], *, cluster: str = "") -> Command:
    """Ask accounting for jobs and all their steps."""
    return Command.script(_ACCOUNT, cluster, ",".join(map(str, jobs)), ACCOUNT_FIELDS)


def queue(*, cluster: str = "") -> Command:
    """Ask for all of our jobs, each element of an array by itself."""
    return Command.script(_QUEUE, cluster, QUEUE_FIELDS)


def remove_runs(folder: PurePosixPath, names: Iterable[str], *, cluster: str = "") -> Command:
    """Remove runs' folders by their names, but for those of which a job waits or runs."""
    return Command.script(_REMOVE_RUNS, cluster, str(folder), *names)


def remove_kept(folder: PurePosixPath, runs: PurePosixPath, *, minutes: int) -> Command:
    """Remove inputs that are kept by content, that no run links to, and that nobody has looked for in so long."""
    return Command.script(_REMOVE_KEPT, str(folder), str(runs), str(minutes))


def remove_unlinked(folder: PurePosixPath, runs: PurePosixPath, names: Iterable[str]) -> Command:
    """Remove those of these inputs that no run links to, however lately somebody has looked for them."""
    lines = "".join(f"{each}\n" for each in names).encode()
    return Command.script(_REMOVE_KEPT, str(folder), str(runs), "", stdin=lines)


def give_up(job: JobId) -> Command:
    """Cancel a job if it still waits, and leave it alone if it runs."""
    return Command.of("scancel", *(("-M", job.cluster) if job.cluster else ()), "--state=PENDING", str(job))


def release(token: str) -> Command:
    """Cancel our jobs of that name, whatever their ids."""
    return Command.of("scancel", f"--name={token}", "--me")


def standing(job: JobId) -> Command:
    """Ask how a job is, and how much of its time is left."""
    return Command.script(_STANDING, job.cluster or "", str(job), STANDING_FIELDS)


def step(job: JobId, command: Command, *, mark: str, used: PurePosixPath, options: tuple[str, ...] = ()) -> Command:
    """Run a command inside of a job's allocation, sharing it with all other steps there."""
    chosen = (*(("-M", job.cluster) if job.cluster else ()), *(options or ("--nodes=1", "--ntasks=1")))
    srun = (
        "srun",
        f"--jobid={job}",
        f"--job-name={mark}",
        "--overlap",
        *chosen,
        "sh",
        "-c",
        _BEGIN,
        mark,
        *command.argv,
    )
    return Command.script(_STEP, str(used), mark, *srun, stdin=command.stdin)


def end_step(job: JobId, mark: str) -> Command:
    """End the step that was begun with this mark."""
    return Command.script(_END_STEP, job.cluster or "", str(job), mark)


def touch(paths: Iterable[PurePosixPath]) -> Command:
    """Say that these are in use."""
    return Command.of("touch", "-c", "--", *map(str, paths))


def watch(asked: bytes, *, missing: Iterable[int], room: int, share: int, cluster: str = "") -> Command:
    """Ask for everything about the jobs in one go: states, accounts of those missing, and what files have grown."""
    ids = ",".join(map(str, missing))
    return Command.script(_WATCH, cluster, QUEUE_FIELDS, ids, ACCOUNT_FIELDS, str(room), str(share), stdin=asked)


def _pattern(path: PurePosixPath) -> str:
    text = str(path)
    if "\\" in text:
        # A backslash turns every pattern off, and is itself left out of the name.
        raise ResourcesInvalid(option="output", value=text, reason="Slurm cannot write a file with a backslash in it")
    return text.replace("%", "%%").replace("%%a", "%a")
