import pytest

from app.wire.surfaces import SURFACES


def test_every_inference_path_of_the_contract_has_a_row():
    assert set(SURFACES) == {
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        "/v1/rerank",
        "/v1/score",
        "/tokenize",
        "/detokenize",
    }


def test_rows_are_found_under_their_own_path_and_names_are_unique():
    assert all(path == row.path for path, row in SURFACES.items())
    assert len({row.name for row in SURFACES.values()}) == len(SURFACES)


def test_only_openai_completions_know_stream_options_and_done():
    assert {row.name for row in SURFACES.values() if row.options} == {"chat", "completions"}
    assert {row.name for row in SURFACES.values() if row.done} == {"chat", "completions"}


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        SURFACES["/x"] = SURFACES["/tokenize"]
