"""Every error that Modelyard raises on purpose.

ModelyardError                    exit code 1
├── BadInput                      exit code 2: what was asked for cannot be done as asked
│   ├── UnknownName               a workload, model type or parameter that does not exist
│   ├── InvalidParameter
│   ├── InvalidSetting
│   ├── RawDataNotFound
│   ├── RawDataMalformed
│   ├── DatasetRefused            a dataset that cannot be trained on as asked
│   ├── VersionRefused            a version that a dataset cannot have
│   ├── SchemaMismatch            input with other columns than a model was trained on
│   ├── DataInvalid               rows that are not as their workload expects
│   ├── InvalidExpectation        an expectation that cannot be checked
│   ├── InvalidRules              a contract or a gate that cannot be read
│   ├── InvalidWorkload           a file that is no workload
│   ├── NothingLive               a policy of which no version is live
│   ├── RowsSeen                  rows that a model was trained on, where it is to be judged by them
│   ├── GroupsSeen                rows of a group that a model was trained on, where it is to be judged by them
│   ├── UnsupportedFile           a file that no reader of ours opens
│   ├── DriftNotMeasured          there is nothing to compare
│   ├── PersonRefused             a login that cannot be made, changed or taken away as asked
│   └── DigestRefused             a column type that has no canonical form
├── StackRefused                  exit code 2: the surroundings do not allow it
│   ├── HomeRefused               the stack's folder: read-only, newer, somebody else's
│   ├── DiskTooSmall
│   ├── StackNotRunning
│   ├── SecretMissing             a service's password or key is not there or damaged
│   ├── MigrationRefused          an edited or unknown applied migration
│   └── ServiceFailed             PostgreSQL, MLflow or the object store did not start or answer
│       └── AnswerLost            whoever asked for a change does not know whether it was done; exit code 130 by Ctrl-C
├── DownloadFailed
├── ContractNotMet                exit code 3: a run lacks what it must have logged
├── ContentMismatch               bytes are not those that were recorded
├── UntrustedModel                a model that only a pickle or types outside the allow-list could open
├── ModelFailed                   a model's own code failed, or its answers are no predictions
├── RecordNotFound                a row that was asked for is not in the database
├── RecordConflict                something else is recorded under this key
├── PolicyVersionRefused          exit code 3: a policy does not take this model version
├── GateRefused                   exit code 2: a gate is not declared
├── PromotionRefused              exit code 3: the rules say no, with every reason
├── PromotionConflict             exit code 2: another version is live than was expected
├── RequestReused                 exit code 2: a request id that stands for another change
├── ApprovalRefused               exit code 3: who asks may not approve this
├── RecordLost                    MLflow or the raw store no longer has what the database names
├── RemovalRefused                exit code 2: a dataset cannot be deleted, or not by who asks
├── RightMissing                  exit code 2: who asks may not do this
├── WorkHeld                      exit code 2: another process does this very work now
├── JobRefused                    exit code 2: a job cannot be cancelled or tried again as it is
├── JobFailed                     a job that was followed has failed or was cancelled; exit code 2 if its input was bad
├── FollowingStopped              exit code 130: by Ctrl-C, and the job goes on
├── AttemptLost                   another attempt has taken this job over
└── StepFailed                    a step of the pipeline ended in an error
"""

from modelyard.errors.base import BadInput as BadInput
from modelyard.errors.base import ModelyardError as ModelyardError
from modelyard.errors.input import DataInvalid as DataInvalid
from modelyard.errors.input import DatasetRefused as DatasetRefused
from modelyard.errors.input import DigestRefused as DigestRefused
from modelyard.errors.input import DriftNotMeasured as DriftNotMeasured
from modelyard.errors.input import GroupsSeen as GroupsSeen
from modelyard.errors.input import InvalidExpectation as InvalidExpectation
from modelyard.errors.input import InvalidParameter as InvalidParameter
from modelyard.errors.input import InvalidRules as InvalidRules
from modelyard.errors.input import InvalidSetting as InvalidSetting
from modelyard.errors.input import InvalidWorkload as InvalidWorkload
from modelyard.errors.input import NothingLive as NothingLive
from modelyard.errors.input import PersonRefused as PersonRefused
from modelyard.errors.input import RawDataMalformed as RawDataMalformed
from modelyard.errors.input import RawDataNotFound as RawDataNotFound
from modelyard.errors.input import RowsSeen as RowsSeen
from modelyard.errors.input import SchemaMismatch as SchemaMismatch
from modelyard.errors.input import UnknownName as UnknownName
from modelyard.errors.input import UnsupportedFile as UnsupportedFile
from modelyard.errors.input import VersionRefused as VersionRefused
from modelyard.errors.records import ApprovalRefused as ApprovalRefused
from modelyard.errors.records import ContentMismatch as ContentMismatch
from modelyard.errors.records import ContractNotMet as ContractNotMet
from modelyard.errors.records import GateRefused as GateRefused
from modelyard.errors.records import ModelFailed as ModelFailed
from modelyard.errors.records import PolicyVersionRefused as PolicyVersionRefused
from modelyard.errors.records import PromotionConflict as PromotionConflict
from modelyard.errors.records import PromotionRefused as PromotionRefused
from modelyard.errors.records import RecordConflict as RecordConflict
from modelyard.errors.records import RecordLost as RecordLost
from modelyard.errors.records import RecordNotFound as RecordNotFound
from modelyard.errors.records import RemovalRefused as RemovalRefused
from modelyard.errors.records import RequestReused as RequestReused
from modelyard.errors.records import RightMissing as RightMissing
from modelyard.errors.records import UntrustedModel as UntrustedModel
from modelyard.errors.surroundings import AnswerLost as AnswerLost
from modelyard.errors.surroundings import DiskTooSmall as DiskTooSmall
from modelyard.errors.surroundings import DownloadFailed as DownloadFailed
from modelyard.errors.surroundings import HomeRefused as HomeRefused
from modelyard.errors.surroundings import MigrationRefused as MigrationRefused
from modelyard.errors.surroundings import SecretMissing as SecretMissing
from modelyard.errors.surroundings import ServiceFailed as ServiceFailed
from modelyard.errors.surroundings import StackNotRunning as StackNotRunning
from modelyard.errors.surroundings import StackRefused as StackRefused
from modelyard.errors.surroundings import find_remedy as find_remedy
from modelyard.errors.work import AttemptLost as AttemptLost
from modelyard.errors.work import FollowingStopped as FollowingStopped
from modelyard.errors.work import JobFailed as JobFailed
from modelyard.errors.work import JobRefused as JobRefused
from modelyard.errors.work import StepFailed as StepFailed
from modelyard.errors.work import WorkHeld as WorkHeld


def find_bad_input(line: str) -> str | None:
    """The text of a BadInput that a job has recorded in one line, after its class and a colon; None of others."""
    name, _, text = line.partition(": ")
    known = globals().get(name)
    return text if isinstance(known, type) and issubclass(known, BadInput) else None
