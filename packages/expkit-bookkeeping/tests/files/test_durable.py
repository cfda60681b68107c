from expkit_bookkeeping._files.durable import write_file


def test_a_file_is_written_although_its_folder_was_away_for_a_moment(tmp_path):
    folder, away = tmp_path / "run", tmp_path / "away"
    folder.mkdir()
    steps = iter([lambda: folder.rename(away), lambda: away.rename(folder)])

    # As a cleanup does that learns, after the move, that the run has been claimed meanwhile.
    write_file(folder / "run.json", "{}", check=lambda: next(steps, lambda: None)())

    assert (folder / "run.json").read_text() == "{}"
