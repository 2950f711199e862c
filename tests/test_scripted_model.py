"""The scripted model over real HTTP: both protocols, scripts, faults, records, and a clean end."""

from __future__ import annotations

import hashlib
import http.client
import json
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scripted_model.registry import SCRIPTS
from tests.scripted_model.server import serve

pytest_plugins = ["tests.scripted_model.fixture"]

ANTHROPIC, OPENAI = "/v1/messages", "/v1/chat/completions"
BOTH = pytest.mark.parametrize("path", [ANTHROPIC, OPENAI])
BREAKING = {"die", "die_once", "hang"}


def body(*said, tools=(), stream=False, system=""):
    """A request in which people and models take turns; it suits either protocol where no tool is used."""
    messages = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    offered = [{"name": name, "function": {"name": name}} for name in tools]
    return {"model": "m", "messages": messages, "tools": offered, "stream": stream}


def called(directory, *results):
    """Anthropic's view of a conversation in which tools were called one after another, with these results."""
    messages = [{"role": "user", "content": "Go"}]
    for result in results:
        messages.append({"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Write"}]})
        block = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": result}]}
        messages.append({"role": "user", "content": [block]})
    told = [{"type": "text", "text": f" - Primary working directory: {directory}\n - more"}]
    return {"model": "m", "system": told, "messages": messages, "tools": [{"name": "Write"}]}


def ask(url, data=None, headers=(), method=None):
    """Status, headers and body of one exchange."""
    raw = data if isinstance(data, bytes) or data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, raw, dict(headers), method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.status, error.headers, error.read()


def text_of(path, raw):
    answer = json.loads(raw)
    if path == OPENAI:
        return answer["choices"][0]["message"]["content"]
    return "".join(block["text"] for block in answer["content"] if block["type"] == "text")


def sent_events(raw):
    lines = [line.removeprefix("data: ") for line in raw.decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def answer(model, script, path, *said, **more):
    """What a script says to these words."""
    return text_of(path, ask(model.url(script) + path, body(*said, **more))[2])


@BOTH
def test_a_script_is_chosen_by_the_path(scripted_model, path):
    assert answer(scripted_model, "hello", path, "Hi") == "Hello from the scripted model."


@BOTH
def test_echo_tells_exactly_which_prompt_arrived(scripted_model, path):
    prompt = "-x 漢字\n" * 100
    told = json.loads(answer(scripted_model, "echo", path, prompt))
    assert told["chars"] == len(prompt)
    assert told["sha256"] == hashlib.sha256(prompt.encode()).hexdigest()
    assert prompt.startswith(told["head"])
    assert prompt.endswith(told["tail"])


@BOTH
def test_memory_repeats_what_people_said_and_not_what_programs_added(scripted_model, path):
    data = body("I am Ada", "Hello", "And now?")
    reminder = {"type": "text", "text": "<system-reminder>be quick</system-reminder>"}
    data["messages"][0]["content"] = [reminder, {"type": "text", "text": "I am Ada"}]
    said = text_of(path, ask(scripted_model.url("memory") + path, data)[2])
    assert said == "turn 2; you said: I am Ada | And now?"


def test_a_streamed_message_adds_up_to_the_whole_one(scripted_model):
    url = scripted_model.url("write_file") + ANTHROPIC
    whole = json.loads(ask(url, called("/w"))[2])
    events = sent_events(ask(url, called("/w") | {"stream": True})[2])
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == whole["content"][0]["text"]
    assert json.loads("".join(d.get("partial_json", "") for d in deltas)) == whole["content"][1]["input"]
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"] == "tool_use"
    assert events[-2]["usage"] == whole["usage"]
    assert events[-1]["type"] == "message_stop"


def test_a_streamed_completion_adds_up_to_the_whole_one(scripted_model):
    url, tools = scripted_model.url("two_tools") + OPENAI, ["write_file"]
    whole = json.loads(ask(url, body("Go", tools=tools))[2])
    raw = ask(url, body("Go", tools=tools, stream=True))[2]
    chunks = sent_events(raw)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    message = whole["choices"][0]["message"]
    assert "".join(delta.get("content", "") for delta in deltas) == message["content"]
    parts = [call for delta in deltas for call in delta.get("tool_calls", ())]
    for index, call in enumerate(message["tool_calls"]):
        own = [part["function"] for part in parts if part["index"] == index]
        assert "".join(part["arguments"] for part in own) == call["function"]["arguments"]
        assert own[0]["name"] == "write_file"
    assert chunks[-1]["usage"] == whole["usage"]
    assert raw.endswith(b"data: [DONE]\n\n")


def test_thinking_is_streamed_apart_from_the_text(scripted_model):
    url = scripted_model.url("think")
    events = sent_events(ask(url + ANTHROPIC, body("Go", stream=True))[2])
    kinds = [event["delta"]["type"] for event in events if event["type"] == "content_block_delta"]
    assert kinds.index("signature_delta") == len(kinds) - kinds.count("text_delta") - 1
    chunks = sent_events(ask(url + OPENAI, body("Go", stream=True))[2])
    assert any("reasoning_content" in chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"])


@BOTH
@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - BREAKING))
def test_every_script_answers_in_either_protocol(scripted_model, path, name):
    status, _, raw = ask(scripted_model.url(f"{name}+every") + path, body("Go"))
    assert status == (int(name[1:4]) if name[1:4].isdigit() else 200) or "_once" in name
    assert ("error" in json.loads(raw)) == (status != 200)


@pytest.mark.parametrize(
    ("tools", "path", "name"), [(["Bash"], ANTHROPIC, "Bash"), (["read_file"], OPENAI, "run_shell_command")]
)
def test_a_tool_is_called_by_the_name_that_the_program_gave_it(scripted_model, tools, path, name):
    said = ask(scripted_model.url("stubborn_tool") + path, body("Go", tools=tools))[2]
    assert f'"{name}"'.encode() in said


def test_files_are_written_in_the_directory_that_the_program_named(scripted_model):
    said = json.loads(ask(scripted_model.url("write_file") + ANTHROPIC, called("/a b/c"))[2])
    assert said["content"][1]["input"]["file_path"] == "/a b/c/hello.txt"
    qwen = body("Go", tools=["write_file"], system="We are in the directory: /q\nmore")
    call = json.loads(ask(scripted_model.url("write_file") + OPENAI, qwen)[2])["choices"][0]["message"]
    assert json.loads(call["tool_calls"][0]["function"]["arguments"])["file_path"] == "/q/hello.txt"


def test_what_a_tool_returned_is_told(scripted_model):
    raw = ask(scripted_model.url("write_file") + ANTHROPIC, called("/w", "it went well"))[2]
    assert text_of(ANTHROPIC, raw) == "Done. The tool said: it went well"


def test_the_rest_api_is_written_again_when_somebody_else_changed_it(scripted_model):
    url = scripted_model.url("rest_api") + ANTHROPIC
    changed = "File has been modified since read. Read it again before attempting to write it."

    def next_tool(*results):
        content = json.loads(ask(url, called("/w", *results))[2])["content"]
        return content[-1].get("name")

    assert next_tool() == "Read"
    assert next_tool("no such file") == "Write"
    assert next_tool("no such file", changed) == "Read"
    assert next_tool("no such file", changed, "text", "File created, no need to Read it back") is None


def test_the_rest_api_that_is_written_is_a_program(scripted_model):
    written = json.loads(ask(scripted_model.url("rest_api") + ANTHROPIC, called("/w", "no such file"))[2])
    compile(written["content"][1]["input"]["content"], "app.py", "exec")


def test_a_subtask_is_answered_by_the_subagent(scripted_model):
    order = json.loads(ask(scripted_model.url("subagent") + ANTHROPIC, called("/w"))[2])["content"][1]
    assert order["name"] == "Agent"
    read = json.loads(ask(scripted_model.url("subagent") + ANTHROPIC, body(order["input"]["prompt"]))[2])
    assert read["content"][0]["name"] == "Read"


def test_an_error_has_the_shape_of_its_protocol(scripted_model):
    status, headers, raw = ask(scripted_model.url("e429_long") + ANTHROPIC, body("Go", stream=True))
    assert (status, headers["retry-after"]) == (429, "3600")
    assert json.loads(raw)["error"] == {"type": "rate_limit_error", "message": "scripted rate limit"}
    status, _, raw = ask(scripted_model.url("e401") + OPENAI, body("Go"))
    assert status == 401
    assert json.loads(raw)["error"]["code"] == "authentication_error"


@pytest.mark.parametrize("name", [name for name in SCRIPTS if name.startswith("e") and "_once" in name])
def test_a_fault_of_one_key_goes_away_and_does_not_touch_another(scripted_model, name):
    urls = [scripted_model.url(f"{name}+{run}") + ANTHROPIC for run in ("one", "two")]
    for url in urls:
        assert ask(url, body("Go"))[0] == int(name[1:4])
        assert ask(url, body("Go"))[0] == 200


@BOTH
@pytest.mark.parametrize("stream", [False, True])
def test_a_dying_connection_is_reset(scripted_model, path, stream):
    with pytest.raises((http.client.HTTPException, ConnectionError, urllib.error.URLError)):
        ask(scripted_model.url("die") + path, body("Go", stream=stream))


def test_a_connection_that_dies_once_is_good_the_second_time(scripted_model):
    with pytest.raises((http.client.HTTPException, ConnectionError, urllib.error.URLError)):
        answer(scripted_model, "die_once+second", ANTHROPIC, "Go")
    assert "Recovered" in answer(scripted_model, "die_once+second", ANTHROPIC, "Go")


def test_only_streams_die_where_only_streams_shall(scripted_model):
    url = scripted_model.url("die_stream") + ANTHROPIC
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask(url, body("Go", stream=True))
    assert ask(url, body("Go"))[0] == 200


@pytest.mark.parametrize("name", ["hang", "slow"])
def test_stopping_the_server_ends_an_unfinished_answer_and_every_thread(name):
    before = set(threading.enumerate())
    with serve() as server:
        data = json.dumps(body("Go", stream=True)).encode()
        response = urllib.request.urlopen(server.url(name) + ANTHROPIC, data)
        assert response.readline() == b"event: message_start\n"
    with response, pytest.raises((http.client.HTTPException, ConnectionError)):
        response.read()
    assert set(threading.enumerate()) <= before


def test_stopping_the_server_ends_idle_connections():
    before = set(threading.enumerate())
    with serve() as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/s/hello/v1/models")
        connection.getresponse().read()
    assert set(threading.enumerate()) <= before
    assert connection.sock.recv(1) == b""
    connection.close()


def test_calls_are_recorded_with_what_tests_ask_about(scripted_model):
    url = scripted_model.url("hello+record") + ANTHROPIC
    ask(url, body("one", "two", "three"), {"x-api-key": "secret"})
    ask(url, body("again", stream=True))
    first, second = scripted_model.calls("hello+record")
    assert (first.prompt, first.messages, first.model, first.streaming) == ("three", 3, "m", False)
    assert first.has_credentials
    assert (second.prompt, second.streaming, second.has_credentials) == ("again", True, False)
    assert "secret" not in repr(scripted_model.requests)


def test_qwens_memory_question_is_no_call_of_the_script(scripted_model):
    said = answer(scripted_model, "e500_once+aside", OPENAI, "Managed memory directory: /x")
    assert said == "Nothing worth remembering."
    assert scripted_model.calls("e500_once+aside") == []
    assert ask(scripted_model.url("e500_once+aside") + OPENAI, body("Go"))[0] == 500


def test_side_traffic_is_answered(scripted_model):
    url = scripted_model.url("hello+side")
    assert ask(url, method="HEAD")[0] == 200
    assert json.loads(ask(f"{url}/v1/models")[2])["data"]
    counted = ask(f"{url}/v1/messages/count_tokens?beta=true", body("Go"))
    assert json.loads(counted[2])["input_tokens"] > 0
    assert scripted_model.calls("hello+side") == []


def test_what_nobody_serves_is_an_error(scripted_model):
    assert ask(scripted_model.url("no_such_script") + ANTHROPIC, body("Go"))[0] == 404
    assert ask(scripted_model.url("hello") + "/v1/other", body("Go"))[0] == 404
    assert ask(f"http://127.0.0.1:{scripted_model.port}/elsewhere")[0] == 404


@BOTH
@pytest.mark.parametrize("raw", [b"{not json", b"[]", b'{"model": "m"}'])
def test_what_is_not_a_request_is_refused(scripted_model, path, raw):
    assert ask(scripted_model.url("hello") + path, raw)[0] == 400


def test_many_clients_at_once_are_all_counted(scripted_model):
    url = scripted_model.url("hello+many") + ANTHROPIC
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: json.loads(ask(url, body("Go"))[2])["id"], range(100)))
    assert len(set(answers)) == len(scripted_model.calls("hello+many")) == 100


def test_a_client_gets_its_script_and_a_home_of_its_own(claude_env, qwen_env, scripted_model, tmp_path):
    claude = claude_env("hello", tmp_path)
    assert claude["ANTHROPIC_BASE_URL"] == scripted_model.url("hello")
    assert claude["HOME"] == str(tmp_path)
    qwen = qwen_env("echo+me", tmp_path)
    assert qwen["OPENAI_BASE_URL"] == scripted_model.url("echo+me") + "/v1"
    assert json.loads((tmp_path / ".qwen" / "settings.json").read_text())["privacy"]
