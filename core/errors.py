"""Every error that sluiceway raises on purpose, as one tree; each class is something a caller would do differently.

::

    SluicewayError                 exit code 1: the work failed
    ├── UsageProblem               exit code 2: what was asked for cannot be done as written
    │   ├── SettingsInvalid        a setting has a value that cannot be used
    │   ├── InputMissing           a file that was named is not there
    │   ├── NotCanonical           a parameter has no one form as JSON
    │   ├── RegionUnreadable       a stretch of the genome is not written as one
    │   ├── PolicyInvalid          a policy that was named or written cannot be followed
    │   ├── PanelUnusable          a reference panel's files cannot be used together
    │   ├── ChainUnusable          a chain file cannot lead positions from one build to another
    │   ├── ScoringFileBroken      a scoring file cannot be read; the batch goes on without it
    │   ├── ScoreNotKept           a catalogue id has no scoring file on this machine
    │   ├── ScoreUnknown           the catalogue does not list a score of that id
    │   ├── MetadataBroken         a sheet of the catalogue's metadata cannot be read
    │   ├── CatalogOffline         something of the catalogue is not here, and nobody may be asked for it
    │   ├── QueryRefused           a question in SQL about a folder of results cannot be answered
    │   ├── ManifestBroken         a file is no manifest, or not a whole one
    │   ├── TreeUnreadable         a file or folder has no digest, for it cannot be read as it is
    │   ├── NotReproducible        an output cannot be made again from its manifest
    │   ├── NotExportable          an output, or the place for it, cannot be exported as asked
    │   ├── RegistryUnusable       the registry's database cannot be used
    │   ├── OutputBusy             another run is writing to that folder
    │   ├── RefreshRunning         another refresh of the same home is on its way
    │   ├── PlaceUnusable          a place to run at is not written as one, or cannot run this
    │   ├── ClusterInvalid         what is known of a cluster cannot be used
    │   ├── EnvironmentInvalid     an environment is not there by that name, or its description cannot be used
    │   ├── RequestInvalid         a run cannot be asked for like this
    │   ├── ArtifactUnknown        the store has no whole artifact of that name
    │   ├── LinkRefused            something is in the way of a link, and the store did not put it there
    │   ├── RunElsewhere           the same run is on its way at another place
    │   ├── RunUnknown             no run has that name, or several have
    │   ├── ResourcesInvalid       something asked of Slurm is not written as Slurm takes it
    │   └── MixedInstall           a flow from one tree would run with the core of another
    ├── ClaimLost                  somebody else has taken over the work; what was about to be written is refused
    ├── PeerFailed                 the same work was done elsewhere, and failed
    ├── LedgerBroken               the list of all manifests is not as it was written
    ├── VerificationFailed         outputs are not what their manifests say
    ├── OutcomeBroken              a job's outcome file is damaged or half-written
    ├── NothingScored              every score that was asked for failed
    ├── PublicationRefused         what an audit found keeps a release from being published
    ├── OthersDisagree             another program gives other sums for the same scores
    ├── EnvironmentUnusable        what a payload is to run in cannot be made, sent or kept
    ├── RunFailed                  a run ended, and its work is not done; its receipt says how
    ├── CallRaised                 a function raised where it was called, and its exception cannot be had here
    ├── AnswerUnreadable           a function returned, and what it returned cannot be had here
    ├── StorageFailed              a disk could not hold or give what it was asked; nothing half-written is left
    ├── RemoteError                exit code 4: a machine did not do what it was asked
    │   ├── Unreachable            no connection came about; nothing was started there
    │   │   └── ConnectionRefused  the machine is there, but nothing listens on that port
    │   ├── ConnectionLost         the connection broke under a command: its outcome is unknown
    │   ├── HostKeyUnknown         the machine's key is not the one we were told to expect
    │   ├── AuthenticationFailed   the machine does not accept who we say we are
    │   ├── CommandTimedOut        a command took longer than it was given, and was stopped
    │   ├── CommandFailed          a command ran and ended with an exit code or a signal
    │   ├── PendingVisibility      a file was written, and a shared file system does not show it yet
    │   ├── SlurmRefused           Slurm answered, and will not do what it was asked
    │   ├── EngineFailed           Ray, Spark or Dask did not come up on the nodes it was to span
    │   ├── EngineLost             an engine was lost, or lost its workers, before its work was done
    │   ├── SessionLost            the allocation that a session holds has ended, or is about to
    │   ├── HubMoved               somebody else has published to the same place on a hub
    │   ├── UpstreamFailed         a public server did not give what it was asked for, however often
    │   └── TransferFailed         a file could not be brought over
    └── DevclusterError            exit code 3: this machine cannot run what was asked for
        ├── RootNeeded             the devcluster's daemons need root
        ├── PackagesMissing        Debian packages are missing
        ├── PortTaken              another program listens on a port that was asked for
        ├── NameUnusable           a cluster cannot have that name here
        ├── FolderUnusable         the folder is not empty, not ours, or has a bad path
        └── DaemonFailed           a daemon did not come up, or did not go down

Each error keeps its values as attributes and survives pickling, because Prefect stores the exception of a failed run.

The classes stand in core/trouble, a file for each branch; everybody imports them from here.
"""

from __future__ import annotations

from sluiceway.core.trouble.asked import (
    ArtifactUnknown,
    ClusterInvalid,
    EnvironmentInvalid,
    InputMissing,
    LinkRefused,
    ManifestBroken,
    MixedInstall,
    NotExportable,
    NotReproducible,
    OutputBusy,
    PlaceUnusable,
    QueryRefused,
    RefreshRunning,
    RegistryUnusable,
    RequestInvalid,
    ResourcesInvalid,
    RunElsewhere,
    RunUnknown,
    SettingsInvalid,
    TreeUnreadable,
)
from sluiceway.core.trouble.calls import AnswerUnreadable, CallRaised
from sluiceway.core.trouble.here import (
    DaemonFailed,
    DevclusterError,
    FolderUnusable,
    NameUnusable,
    PackagesMissing,
    PortTaken,
    RootNeeded,
)
from sluiceway.core.trouble.letter import SluicewayError, UsageProblem
from sluiceway.core.trouble.remote import (
    AuthenticationFailed,
    CommandFailed,
    CommandTimedOut,
    ConnectionLost,
    ConnectionRefused,
    EngineFailed,
    EngineLost,
    HostKeyUnknown,
    HubMoved,
    PendingVisibility,
    RemoteError,
    SessionLost,
    SlurmRefused,
    TransferFailed,
    Unreachable,
    UpstreamFailed,
)
from sluiceway.core.trouble.scores import (
    CatalogOffline,
    ChainUnusable,
    MetadataBroken,
    NotCanonical,
    PanelUnusable,
    PolicyInvalid,
    RegionUnreadable,
    ScoreNotKept,
    ScoreUnknown,
    ScoringFileBroken,
)
from sluiceway.core.trouble.work import (
    ClaimLost,
    EnvironmentUnusable,
    LedgerBroken,
    NothingScored,
    OthersDisagree,
    OutcomeBroken,
    PeerFailed,
    PublicationRefused,
    RunFailed,
    StorageFailed,
    VerificationFailed,
)

__all__ = [
    "AnswerUnreadable", "ArtifactUnknown", "AuthenticationFailed", "CallRaised", "CatalogOffline", "ChainUnusable",
    "ClaimLost",
    "ClusterInvalid", "CommandFailed", "CommandTimedOut", "ConnectionLost", "ConnectionRefused", "DaemonFailed",
    "DevclusterError", "EngineFailed", "EngineLost", "EnvironmentInvalid", "EnvironmentUnusable",
    "FolderUnusable", "HostKeyUnknown", "HubMoved", "InputMissing", "LedgerBroken", "LinkRefused",
    "ManifestBroken", "MetadataBroken", "MixedInstall", "NameUnusable", "NotCanonical", "NotExportable",
    "NotReproducible", "NothingScored",
    "OthersDisagree", "OutcomeBroken", "OutputBusy", "PackagesMissing", "PanelUnusable", "PeerFailed",
    "PendingVisibility", "PlaceUnusable", "PolicyInvalid", "PortTaken", "PublicationRefused", "QueryRefused",
    "RefreshRunning", "RegionUnreadable",
    "RegistryUnusable", "RemoteError", "RequestInvalid", "ResourcesInvalid", "RootNeeded", "RunElsewhere",
    "RunFailed", "RunUnknown", "ScoreNotKept", "ScoreUnknown", "ScoringFileBroken", "SessionLost",
    "SettingsInvalid", "SluicewayError", "SlurmRefused", "StorageFailed", "TransferFailed", "TreeUnreadable",
    "Unreachable", "UpstreamFailed", "UsageProblem", "VerificationFailed",
]  # fmt: skip
