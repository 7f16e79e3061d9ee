"""Settings as DEEPaaS gives them: its variable, its ini files, folders of them."""

import pytest

from modelyard.errors import InvalidSettings
from modelyard.settings import load_settings


def test_deepaas_variable_for_the_model_is_what_everything_else_wins_over(tmp_path):
    file = tmp_path / "deepaas.conf"
    file.write_text("[DEFAULT]\nmodel_name = from-file\n")
    deepaas = {"DEEPAAS_V2_MODEL": "from-deepaas"}
    assert load_settings({}, deepaas).model_name == ("from-deepaas",)
    assert load_settings({}, {"DEEPAAS_V2_MODEL": ""}).model_name == ()
    assert load_settings({}, deepaas, [file]).model_name == ("from-file",)
    own = {**deepaas, "MODELYARD_MODEL_NAME": "from-ours"}
    assert load_settings({}, own, [file]).model_name == ("from-ours",)
    assert load_settings({"model_name": ["flag"]}, own, [file]).model_name == ("flag",)


def test_an_ini_of_deepaas_is_told_by_its_content_and_understood(tmp_path):
    file = tmp_path / "settings.toml"
    file.write_text(
        "# the server\n"
        "[DEFAULT]\n"
        "listen_ip = 0.0.0.0\n"
        "listen-port: 8080\n"
        '; quoted\nmodel_name = "segmenter"\n'
        "base_path = /models/a/\n"
        "client_max_size=0\n"
        "Warm = OFF\n"
        "train_endpoint = No\n"
        "debug_endpoint = On\n"
        "debug = TRUE\n"
        "workers =\n"
    )
    settings = load_settings({}, {}, [file])
    assert (settings.host, settings.port) == ("0.0.0.0", 8080)
    assert settings.model_name == ("segmenter",)
    assert settings.base_path == "/models/a"
    assert settings.client_max_size == 0
    assert (settings.warm, settings.train_endpoint, settings.predict_endpoint) == (0, 0, 1)
    assert settings.debug_endpoint is True
    assert settings.log_level == "debug"
    assert settings.workers == 1


def test_names_in_an_ini_that_are_nobodys_are_warned_about(tmp_path, caplog):
    file = tmp_path / "deepaas.conf"
    file.write_text(
        "[DEFAULT]\nlog_dir = /var/log\ndefault_log_levels = a=INFO,\n  b=INFO\nport = 7\n"
        "[oslo]\nworkers = 5\n"
    )
    settings = load_settings({}, {}, [file])
    assert (settings.port, settings.workers) == (7, 1)
    for words in ("log_dir", "default_log_levels", "[oslo] workers"):
        assert f"{words} is no setting" in caplog.text
    assert "deepaas.conf" in caplog.text and "port" not in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[DEFAULT]\nlisten_port = many\n", ["port", "deepaas.conf"]),
        ("[DEFAULT]\nwarm = perhaps\n", ["warm", "deepaas.conf"]),
        ("[DEFAULT]\nnonsense\n", ["line 2", "nonsense", "deepaas.conf"]),
        ("[DEFAULT\nport = 1\n", ["deepaas.conf", "[DEFAULT]"]),
        ('prot = "1"\n', ["prot", "deepaas.conf"]),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_the_file(tmp_path, content, words):
    file = tmp_path / "deepaas.conf"
    file.write_text(content)
    with pytest.raises(InvalidSettings) as caught:
        load_settings({}, {}, [file])
    for word in words:
        assert word in caught.value.message


def test_a_settings_folder_is_read_by_name_after_single_files(tmp_path):
    folder = tmp_path / "conf.d"
    folder.mkdir()
    (folder / "10.toml").write_text("port = 1\nworkers = 2\n")
    (folder / "20.conf").write_text("[DEFAULT]\nlisten_port = 2\n")
    (folder / "30.toml.off").write_text("port = 3\n")
    file = tmp_path / "one.toml"
    file.write_text('port = 4\ndevice = "cpu"\n')
    settings = load_settings({}, {}, [file], [folder])
    assert (settings.port, settings.workers, settings.device) == (2, 2, "cpu")
    assert load_settings({}, {"MODELYARD_CONFIG_DIR": str(folder)}).port == 2
    with pytest.raises(InvalidSettings, match="nowhere"):
        load_settings({}, {}, [], [tmp_path / "nowhere"])


def test_debug_is_the_log_level(tmp_path):
    assert load_settings({"debug": True, "log_level": "error"}, {}).log_level == "debug"
    assert load_settings({"debug": False, "log_level": "error"}, {}).log_level == "error"
    assert load_settings({"debug": False}, {"MODELYARD_DEBUG": "1"}).log_level == "info"


def test_a_base_path_begins_with_a_slash():
    with pytest.raises(InvalidSettings, match="/models/a"):
        load_settings({"base_path": "models"}, {})
