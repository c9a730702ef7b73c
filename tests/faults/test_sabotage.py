"""The tests bite: each one-line sabotage of the code that keeps checkpoints safe makes a named check fail."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import test_checkpoint_faults as faults
from sabotage import sabotaged

from regard.checkpoint import assembly, average, checkpoints, log, manifest, publish, resume, storage, weights
from regard.checkpoint.lock import RunLock

sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoint"))

import test_average_checkpoints as averages
import test_model_folder as models
import test_resume_rules as rules
import test_run_folder as runs
import test_run_lock as locks
import test_weights as tensors
from small_models import small


class Sabotage(NamedTuple):
    """In `function`, `line` becomes `instead`; then `check`, a test, must fail. `arguments` are its parameters."""

    function: Callable[..., Any]
    line: str
    instead: str
    check: Callable[..., None]
    arguments: dict[str, Any] = {}  # noqa: RUF012


KILL = faults.test_c02_a_kill_at_any_operation_leaves_the_last_published_checkpoint
POWER = faults.test_c03_a_power_cut_at_any_operation_leaves_the_last_published_checkpoint
ERROR = faults.test_c05_an_error_at_any_operation_is_told_and_the_old_checkpoint_stays
MANIFEST = "_write_file(folder / MANIFEST, manifest_text(entries), storage)"
LATE_MANIFEST = (
    "final = folder.with_name(folder.name.partition('.tmp-')[0]); "
    "storage.rename(folder, final); storage.rename(final, folder); " + MANIFEST
)

SABOTAGES = {
    "no flush of files": Sabotage(publish._write_file, "storage.sync(descriptor)", "pass", POWER),
    "no flush of the folder": Sabotage(publish._write_aside, "storage.sync_folder(folder)", "pass", POWER),
    "no flush of the parent": Sabotage(publish.write_folder, "storage.sync_folder(final.parent)", "pass", POWER),
    "no manifest": Sabotage(publish._write_aside, MANIFEST, "pass", KILL),
    "renamed before the manifest": Sabotage(publish._write_aside, MANIFEST, LATE_MANIFEST, KILL),
    "written in place": Sabotage(publish.write_folder, "temporary_name(final)", "final", KILL),
    "removed in place": Sabotage(
        publish.remove_published, 'trash = _hidden_name("trash", folder)', "trash = folder", KILL
    ),
    "leftovers stay": Sabotage(publish.sweep, "_remove_tree(path, storage)", "pass", KILL),
    "errors pass": Sabotage(
        publish.explained, "except OSError as error:", "except EOFError as error:", ERROR, {"code": 5}
    ),
    "partial folders stay": Sabotage(publish._discard, "_remove_tree(path, storage)", "pass", ERROR, {"code": 28}),
    "no look at the space": Sabotage(
        publish.write_folder,
        "_check_space(final, needed, storage)",
        "pass",
        faults.test_c04_a_disk_without_space_is_noticed_before_anything_is_written,
    ),
    "the old folder is not put back": Sabotage(
        publish._swap,
        "storage.rename(old, final)",
        "pass",
        faults.test_a_replacement_that_cannot_take_its_place_gives_the_old_folder_its_name_back,
    ),
    "a folder that made way is lost": Sabotage(
        publish.sweep,
        'leftover["kind"] == "old" and',
        "False and",
        faults.test_replacing_a_folder_survives_a_kill_at_any_operation,
    ),
    "strangers' files are swept": Sabotage(
        publish.sweep,
        "_LEFTOVER.fullmatch(path.name)",
        "re.search('(?P<kind>tmp|trash)', path.name)",
        faults.test_only_leftovers_of_our_own_are_swept,
    ),
    "private permissions": Sabotage(
        storage.Storage.create, "0o666", "0o600", faults.test_c10_permissions_follow_the_umask
    ),
    "model hash not compared": Sabotage(
        manifest.read_verified, "!= entry.sha256", "== ''", models.test_c07_a_flipped_bit_is_refused_or_harmless
    ),
    "checkpoint hash not compared": Sabotage(
        manifest._verify_file,
        "if digest != entry.sha256",
        "if digest == ''",
        runs.test_c07_a_flipped_bit_in_a_checkpoint_is_noticed_or_harmless,
    ),
    "sizes not compared": Sabotage(
        manifest._check_size,
        "if size != entry.size",
        "if False",
        models.test_c06_a_truncated_file_is_refused_by_name,
        {"name": "model.safetensors"},
    ),
    "unlisted files pass": Sabotage(
        manifest.refuse_unlisted,
        "if not known and",
        "if False and",
        models.test_a_user_may_edit_the_readme_and_add_a_licence_but_nothing_else,
    ),
    "links are followed": Sabotage(
        manifest.read_verified,
        "path.is_symlink() or",
        "",
        models.test_c08_a_missing_renamed_or_swapped_file_is_refused,
    ),
    "paths in a manifest": Sabotage(
        manifest._entries,
        "check_file_name(name)",
        "pass",
        models.test_a_verified_folder_may_hold_only_what_its_manifest_lists,
    ),
    "pickles pass": Sabotage(
        weights.refuse_executable,
        "content[:8].startswith(_EXECUTABLE_MAGIC)",
        "False",
        models.test_l01_a_pickle_instead_of_a_folder_is_named_as_such,
    ),
    "numbers of any type": Sabotage(
        weights.read_tensors,
        "if tensor.dtype not in _TYPES",
        "if False",
        tensors.test_l04_a_hostile_header_is_refused_in_one_line_and_little_memory,
        {"name": "type of another trade"},
    ),
    "tied tensors stored twice": Sabotage(
        weights._identity,
        "if tensor.numel() == 0",
        "if True",
        models.test_tied_tensors_are_stored_once_and_are_one_tensor_again,
    ),
    "NaN passes": Sabotage(
        weights.refuse_non_finite,
        "if tensor.is_floating_point()",
        "if False",
        models.test_weights_that_are_not_finite_are_neither_saved_nor_loaded,
    ),
    "shapes not compared": Sabotage(
        assembly._mistake,
        "if tensor.shape != own.shape",
        "if False",
        runs.test_a_checkpoint_of_another_architecture_is_refused_with_the_differences,
    ),
    "shapes compared late": Sabotage(
        assembly.build_unfilled,
        "_compare(path, _groups(model), tensors)",
        "pass",
        models.test_shapes_are_compared_before_the_weights_are_used,
    ),
    "untied values pass": Sabotage(
        assembly.fill,
        "if any(not torch.equal",
        "if False and any(not torch.equal",
        models.test_tied_tensors_may_be_stored_under_any_of_their_names_but_not_with_two_values,
    ),
    "no caps": Sabotage(
        assembly.check_caps,
        "if abs(value) > cap",
        "if False",
        models.test_l05_a_hostile_configuration_is_refused_before_anything_is_allocated,
        {"name": "large size"},
    ),
    "removed before the new one verifies": Sabotage(
        checkpoints.Checkpoints._prune,
        "verify(newest)",
        "pass",
        runs.test_nothing_old_is_removed_while_the_new_checkpoint_does_not_verify,
    ),
    "the best is removed": Sabotage(
        checkpoints.Checkpoints._prune,
        "*ranked[:keep_best]",
        "",
        runs.test_the_newest_and_the_best_are_kept_and_nothing_else,
    ),
    "linked checkpoints are followed": Sabotage(
        checkpoints.Checkpoints.folders,
        "and not path.is_symlink()",
        "",
        runs.test_c19_hints_that_lie_do_no_harm,
    ),
    "a damaged run starts afresh": Sabotage(
        checkpoints.Checkpoints._verified,
        "if problems and not good",
        "if False",
        runs.test_a_run_whose_checkpoints_are_all_damaged_does_not_start_afresh,
    ),
    "skipped without a word": Sabotage(
        checkpoints.Checkpoints._verified,
        'self._notify(f"checkpoint skipped: {problem}")',
        "pass",
        runs.test_a_damaged_checkpoint_is_skipped_and_the_user_told,
    ),
    "no lock": Sabotage(
        RunLock.__init__,
        "self._lock.acquire()",
        "pass",
        locks.test_a_lock_excludes_its_own_process_too,
    ),
    "a step is logged twice": Sabotage(
        log.EventLog.truncate,
        "> step:",
        "> step + 1:",
        runs.test_t10_a_resumed_log_ends_with_the_last_whole_line_of_its_step,
    ),
    "half a line stays": Sabotage(
        log.EventLog.__init__,
        'os.ftruncate(self._descriptor, content.rfind(b"\\n") + 1)',
        "pass",
        runs.test_half_a_line_does_not_spoil_the_next_one,
    ),
    "any recipe resumes": Sabotage(
        resume.is_fatal,
        "return inside",
        "return False and inside",
        rules.test_c11_what_changes_the_model_or_its_ids_is_refused_with_a_table,
        {"key": "model.num_layers", "value": 4},
    ),
    "single precision sums": Sabotage(
        average.average,
        "tensor.double()",
        "tensor.clone()",
        averages.test_the_mean_is_accumulated_in_double_precision,
    ),
    "other models are averaged": Sabotage(
        average.average,
        "_refuse_different(folders, manifests)",
        "pass",
        averages.test_other_shapes_and_other_tokenizers_are_refused_in_one_sentence,
    ),
}


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotage_is_noticed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage = SABOTAGES[name]
    parts = small()
    with sabotaged(sabotage.function, sabotage.line, sabotage.instead):
        offered = {"tmp_path": tmp_path, "parts": parts, "monkeypatch": monkeypatch, **sabotage.arguments}
        wanted = inspect.signature(sabotage.check).parameters
        if "folder" in wanted:
            offered["folder"] = parts.save(tmp_path / "model")
        arguments = {key: offered[key] for key in wanted}
        # Any failure will do: an assertion, an error that the check did not expect, or one that did not come.
        with pytest.raises((Exception, pytest.fail.Exception)) as noticed:
            sabotage.check(**arguments)
    assert not isinstance(noticed.value, NameError | SyntaxError), "the sabotage itself is broken"
