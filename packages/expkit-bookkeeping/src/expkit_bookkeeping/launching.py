"""What launchers build on: claims, liveness, code, stop signals, durable files.

expkit-filter, expkit-hydra and expkit-slurm do. Names here may change between minor versions; what
training code and notebooks use is in `expkit_bookkeeping` itself.
"""

TYPE_CHECKING = False  # typing's constant, without the cost of importing typing
if TYPE_CHECKING:
    from ._checkpoints.files import reason_not_to_continue as reason_not_to_continue
    from ._files.append_files import open_append_file as open_append_file
    from ._files.append_files import open_lines as open_lines
    from ._files.append_files import open_to_read as open_to_read
    from ._files.durable import append_line as append_line
    from ._files.durable import make_folder as make_folder
    from ._files.durable import write_file as write_file
    from ._files.json_files import MAX_BYTES as MAX_BYTES
    from ._files.json_files import NewerFileError as NewerFileError
    from ._files.json_files import UnreadableFileError as UnreadableFileError
    from ._files.json_files import check_schema as check_schema
    from ._files.json_files import parse_json as parse_json
    from ._files.json_files import read_json as read_json
    from ._files.plain_data import json_data as json_data
    from ._files.secrets import MASK as MASK
    from ._files.secrets import SECRET_KEYS as SECRET_KEYS
    from ._files.secrets import is_secret as is_secret
    from ._files.secrets import is_secret_key as is_secret_key
    from ._files.secrets import literal_secrets as literal_secrets
    from ._files.secrets import override_secrets as override_secrets
    from ._files.secrets import public_config as public_config
    from ._files.secrets import public_override as public_override
    from ._files.secrets import remember_secrets as remember_secrets
    from ._files.secrets import secret_patterns as secret_patterns
    from ._files.secrets import secret_values as secret_values
    from ._files.secrets import secret_warning as secret_warning
    from ._files.secrets import shown as shown
    from ._files.secrets import uri_without_secrets as uri_without_secrets
    from ._files.secrets import without_known_secrets as without_known_secrets
    from ._files.tagged_json import to_tagged as to_tagged
    from ._files.texts import error_facts as error_facts
    from ._files.texts import printable as printable
    from ._files.texts import text_of as text_of
    from ._files.texts import traceback_text as traceback_text
    from ._files.texts import why_unencodable as why_unencodable
    from ._files.texts import without_colours as without_colours
    from ._files.yaml_files import read_yaml as read_yaml
    from ._files.yaml_files import yaml_text as yaml_text
    from ._provenance.code import code_changes as code_changes
    from ._provenance.code import code_facts as code_facts
    from ._provenance.code_records import read_sources as read_sources
    from ._provenance.code_records import record_code as record_code
    from ._provenance.code_records import recorded_changes as recorded_changes
    from ._provenance.code_records import recorded_sources as recorded_sources
    from ._provenance.environment import environment_facts as environment_facts
    from ._provenance.environment import split_arguments as split_arguments
    from ._provenance.environment import typed_arguments as typed_arguments
    from ._provenance.hashes import IGNORED_BY_DEFAULT as IGNORED_BY_DEFAULT
    from ._provenance.hashes import NO_PART_OF_IDENTITY as NO_PART_OF_IDENTITY
    from ._provenance.hashes import changes_text as changes_text
    from ._provenance.hashes import config_changes as config_changes
    from ._provenance.repository import left_out_of as left_out_of
    from ._recording.endings import exit_code as exit_code
    from ._recording.metrics import cut_metrics as cut_metrics
    from ._recording.ranks import joined_group as joined_group
    from ._recording.signals import request_stop as request_stop
    from ._recording.signals import stop_requested as stop_requested
    from ._recording.signals import stop_signals as stop_signals
    from ._results.rows import results_csv as results_csv
    from ._runs.claiming import claim_run as claim_run
    from ._runs.claims import Claim as Claim
    from ._runs.folder_ownership import foreign_reason as foreign_reason
    from ._runs.folder_ownership import reason_to_stay as reason_to_stay
    from ._runs.folder_ownership import script_files as script_files
    from ._runs.records import Liveness as Liveness
    from ._runs.records import is_alive as is_alive
    from ._runs.refusals import RunChanged as RunChanged
    from ._runs.refusals import completed_since as completed_since
    from ._runs.settings import folder_name as folder_name
    from ._runs.settings import settings_of_run as settings_of_run
    from ._runs.trash import move_to_trash as move_to_trash

_MODULES = {
    "Claim": "_runs.claims",
    "IGNORED_BY_DEFAULT": "_provenance.hashes",
    "Liveness": "_runs.records",
    "MASK": "_files.secrets",
    "MAX_BYTES": "_files.json_files",
    "NO_PART_OF_IDENTITY": "_provenance.hashes",
    "NewerFileError": "_files.json_files",
    "RunChanged": "_runs.refusals",
    "SECRET_KEYS": "_files.secrets",
    "UnreadableFileError": "_files.json_files",
    "append_line": "_files.durable",
    "changes_text": "_provenance.hashes",
    "check_schema": "_files.json_files",
    "claim_run": "_runs.claiming",
    "code_changes": "_provenance.code",
    "code_facts": "_provenance.code",
    "completed_since": "_runs.refusals",
    "config_changes": "_provenance.hashes",
    "cut_metrics": "_recording.metrics",
    "environment_facts": "_provenance.environment",
    "error_facts": "_files.texts",
    "exit_code": "_recording.endings",
    "folder_name": "_runs.settings",
    "foreign_reason": "_runs.folder_ownership",
    "is_alive": "_runs.records",
    "is_secret": "_files.secrets",
    "is_secret_key": "_files.secrets",
    "joined_group": "_recording.ranks",
    "json_data": "_files.plain_data",
    "left_out_of": "_provenance.repository",
    "literal_secrets": "_files.secrets",
    "make_folder": "_files.durable",
    "move_to_trash": "_runs.trash",
    "open_append_file": "_files.append_files",
    "open_lines": "_files.append_files",
    "open_to_read": "_files.append_files",
    "override_secrets": "_files.secrets",
    "parse_json": "_files.json_files",
    "printable": "_files.texts",
    "public_config": "_files.secrets",
    "public_override": "_files.secrets",
    "read_json": "_files.json_files",
    "read_sources": "_provenance.code_records",
    "read_yaml": "_files.yaml_files",
    "reason_not_to_continue": "_checkpoints.files",
    "reason_to_stay": "_runs.folder_ownership",
    "record_code": "_provenance.code_records",
    "recorded_changes": "_provenance.code_records",
    "recorded_sources": "_provenance.code_records",
    "remember_secrets": "_files.secrets",
    "request_stop": "_recording.signals",
    "results_csv": "_results.rows",
    "script_files": "_runs.folder_ownership",
    "secret_patterns": "_files.secrets",
    "secret_values": "_files.secrets",
    "secret_warning": "_files.secrets",
    "settings_of_run": "_runs.settings",
    "shown": "_files.secrets",
    "split_arguments": "_provenance.environment",
    "stop_requested": "_recording.signals",
    "stop_signals": "_recording.signals",
    "text_of": "_files.texts",
    "to_tagged": "_files.tagged_json",
    "traceback_text": "_files.texts",
    "typed_arguments": "_provenance.environment",
    "uri_without_secrets": "_files.secrets",
    "why_unencodable": "_files.texts",
    "without_colours": "_files.texts",
    "without_known_secrets": "_files.secrets",
    "write_file": "_files.durable",
    "yaml_text": "_files.yaml_files",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{_MODULES[name]}", __package__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
