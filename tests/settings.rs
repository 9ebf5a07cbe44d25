//! The settings from outside: every rule, and that all faults of all files come in one pass.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pythond::config::sinks::{
    GreptimedbSink, HttpSettings, InfluxdbApi, Login, QuestdbSink, SinkKind, SocketAddress, SocketSink, TelegrafSink,
    VictoriametricsSink,
};
use pythond::config::{self, AtCap, Config, ConfigError, Integers, Level, OnInvalid, Secret, Surroundings, Sync};
use pythond::diagnostic::Diagnostic;
use pythond::glob::Glob;
use pythond::point::Category;

/// A root directory with `python.d/mytest/a.py`, a `python3` on PATH, and the settings of a test.
struct Root {
    dir: tempfile::TempDir,
    around: Surroundings,
}

impl Root {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let env = [
            ("PATH", dir.path().join("bin").display().to_string()),
            ("HOME", dir.path().join("home").display().to_string()),
        ];
        let env: BTreeMap<String, String> = env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let root = Self { dir, around: Surroundings { env, hostname: "box".to_owned() } };
        root.file("python.d/mytest/a.py", "")
            .file("python.d/core/x.py", "")
            .file("bin/python3", "#!/bin/sh\n")
            .file("bin/no", "");
        root.mode("bin/python3", 0o755);
        root
    }

    fn with(files: &[(&str, &str)]) -> Self {
        let root = Self::new();
        for (name, text) in files {
            root.file(&format!("conf.d/{name}"), text);
        }
        root
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn mode(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.around.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn read(&self) -> Result<Config, ConfigError> {
        config::read(self.dir.path(), &self.around)
    }

    fn config(&self) -> Config {
        self.read().unwrap_or_else(|error| panic!("{:#?}", self.shown(&error.faults)))
    }

    fn faults(&self) -> Vec<String> {
        self.shown(&self.read().expect_err("a fault").faults)
    }

    /// `file:line:column code headline`, without the directory of the test.
    fn shown(&self, diagnostics: &[Diagnostic]) -> Vec<String> {
        let root = format!("{}/", self.dir.path().display());
        let show = |diagnostic: &Diagnostic| {
            let place = diagnostic
                .place
                .as_ref()
                .map(|place| format!("{}:{}:{} ", place.file.display(), place.line, place.column));
            format!("{}{} {}", place.unwrap_or_default(), diagnostic.code, diagnostic.message).replace(&root, "")
        };
        diagnostics.iter().map(show).collect()
    }
}

/// The faults of one file, as `line:column code headline`.
fn faults(text: &str) -> Vec<String> {
    let root = Root::with(&[("t.conf", text)]);
    root.faults().into_iter().map(|fault| fault.replace("conf.d/t.conf:", "")).collect()
}

/// The one fault of one file.
fn fault(text: &str) -> String {
    let found = faults(text);
    assert_eq!(found.len(), 1, "{found:#?}");
    found[0].clone()
}

/// The one fault of an input that is right but for one line.
fn input_fault(line: &str) -> String {
    let key = line.split(['=', ' ']).next().unwrap();
    let given = [("name", "name = \"a\""), ("cmd", "cmd = \"python3\""), ("dirs", "dirs = [\"mytest\"]")];
    let rest: Vec<&str> = given.iter().filter(|(name, _)| *name != key).map(|(_, line)| *line).collect();
    fault(&format!("[[inputs.pythond]]\n{line}\n{}\n", rest.join("\n")))
}

fn config(text: &str) -> Config {
    Root::with(&[("t.conf", text)]).config()
}

fn input(lines: &str) -> String {
    format!("[[inputs.pythond]]\nname = \"a\"\ncmd = \"python3\"\ndirs = [\"mytest\"]\n{lines}\n")
}

#[test]
fn mistakes_in_several_files_are_all_found_in_one_pass() {
    let root = Root::with(&[
        ("a.conf", "[[inputs.pythond]]\nname = \"a\"\ncmd = \"python3\"\n  dris = [\"mytest\"]\n"),
        ("b.conf", "# Ä\r\n[buffer]\r\n\tmax_size = \"lots\"\r\n"),
        ("c.conf", "[logging]\nlevel = \"info\n"),
        ("d/e.conf", "[sinks.influxdb.main]\nurl = \"ftp://x\"\ndatabase = \"d\"\n"),
        ("f.conf", "[buffer]\nsync = \"group\"\n"),
    ]);
    let starts: Vec<String> =
        root.faults().iter().map(|fault| fault.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        starts,
        [
            "conf.d/a.conf:4:3 PD0102",
            "conf.d/b.conf:3:13 PD0103",
            "conf.d/c.conf:2:14 PD0101",
            "conf.d/d/e.conf:2:7 PD0110",
            "conf.d/f.conf:1:1 PD0105"
        ]
    );
}

#[test]
fn a_fault_is_rendered_with_its_line_and_what_was_meant() {
    let root =
        Root::with(&[("disk.conf", "[[inputs.pythond]]\nname = \"disk\"\ncmd = \"python3\"\n  dris = [\"disk\"]\n")]);
    let error = root.read().unwrap_err();
    let expected = "\
error[PD0102]: unknown key `dris`
 --> conf.d/disk.conf:4:3
  |
4 |   dris = [\"disk\"]
  |   ^^^^ did you mean `dirs`?
  |";
    let text = error.faults[0].render(root.dir.path(), false);
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn good_inputs_are_kept_beside_faulty_ones() {
    let root = Root::with(&[("a.conf", &input("")), ("b.conf", "[[inputs.pythond]]\nname = \"b\"\n")]);
    let error = root.read().unwrap_err();
    assert_eq!(error.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert_eq!(error.faults.len(), 2);
}

#[test]
fn nothing_to_read_says_what_to_create() {
    let root = Root::new();
    assert_eq!(root.faults(), ["PD0106 the settings directory `conf.d` does not exist"]);
    std::fs::create_dir(root.path("conf.d")).unwrap();
    assert_eq!(root.faults(), ["PD0106 `conf.d` holds no `*.conf` file"]);
    let help = root.read().unwrap_err().faults[0].help.clone().unwrap();
    assert!(help.contains("conf.d/pythond.conf") && help.contains("[[inputs.pythond]]"), "{help}");
}

#[test]
fn a_file_without_inputs_is_only_odd() {
    let root = Root::with(&[("a.conf", "[http_api]\n"), ("b.toml", "")]);
    let config = root.config();
    let warnings = root.shown(&config.warnings);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("PD0104 no `[[inputs.pythond]]`"), "{warnings:?}");
    assert!(warnings[1].starts_with("conf.d/b.toml:0:0 PD0111"), "{warnings:?}");
    assert!(config.default_sink && config.inputs.is_empty());
}

// --- the vocabulary ---

#[test]
fn unknown_tables_and_keys_are_refused_with_a_suggestion() {
    let found = |text: &str| {
        let root = Root::with(&[("t.conf", text)]);
        let faults = root.read().unwrap_err().faults;
        assert_eq!(faults.len(), 1, "{faults:#?}");
        (faults[0].code, faults[0].message.clone(), faults[0].place.clone().unwrap().label)
    };
    let found = |text: &str| {
        let (code, message, label) = found(text);
        assert_eq!(code.as_str(), "PD0102");
        format!("{message} / {label}")
    };
    assert_eq!(found("[bufer]\nx = 1"), "unknown table `[bufer]` / did you mean `buffer`?");
    assert_eq!(found("[[input.pythond]]\nx = 1"), "unknown table `[input]` / did you mean `inputs`?");
    assert_eq!(found("name = 1"), "unknown key `name` / ");
    assert_eq!(found("[http_api]\nlisten_socket = \"/x\""), "unknown key `listen_socket` / did you mean `socket`?");
    assert_eq!(found("[http_api]\nlissten = \":1\""), "unknown key `lissten` / did you mean `listen`?");
    assert_eq!(found("[sinks.influx.x]"), "unknown kind of sink `influx` / did you mean `influxdb`?");
    assert_eq!(found("[sinks.file.x]\nkep = 1"), "unknown key `kep` / did you mean `keep`?");
    assert_eq!(found("[inputs.cpu]"), "unknown input `cpu`; this agent runs Python collectors only / ");
    assert_eq!(found("[[git_repos.repo]]\nbranche = \"x\""), "unknown key `branche` / did you mean `branch`?");
}

#[test]
fn a_table_given_twice_names_both_places() {
    let root = Root::with(&[("a.conf", "\n[buffer]\n"), ("b.conf", "[buffer]\nsync = \"group\"\n")]);
    let faults = root.read().unwrap_err().faults;
    let other = faults[0].other.clone().unwrap();
    assert_eq!((other.line, other.label.as_str()), (2, "first given here"));
    assert!(other.file.ends_with("conf.d/a.conf"));
    assert_eq!(root.shown(&faults), ["conf.d/b.conf:1:1 PD0105 `[buffer]` is given twice"]);
    assert_eq!(fault("[buffer]\n[logging]\n[buffer]\n"), "3:2 PD0105 `[buffer]` is given twice");
    assert_eq!(
        fault("[sinks.file.x]\n[sinks.dataway.x]\nurl = \"http://h?token=t\"\n"),
        "2:16 PD0105 `sink x` is given twice"
    );
    assert_eq!(fault(&format!("{}{}", input(""), input(""))), "7:8 PD0105 `name = \"a\"` is given twice");
}

#[test]
fn keys_and_tables_must_have_their_type() {
    assert_eq!(fault("buffer = 1"), "1:10 PD0103 `[buffer]` is `1`; it must be a table");
    assert_eq!(fault("[[buffer]]"), "1:1 PD0103 `[buffer]` is a list; it must be a table");
    assert_eq!(
        fault("[logging]\nlevel = 3"),
        "2:9 PD0103 `level` is `3`; it must be \"error\", \"warn\", \"info\", \"debug\" or \"trace\""
    );
    assert_eq!(
        fault("[http_api]\ntokens = \"x\""),
        "2:10 PD0103 `tokens` is text; it must be a list such as [\"a\", \"b\"]"
    );
    assert_eq!(
        fault("[sinks.file.x]\nrequired = \"yes\""),
        "2:12 PD0103 `required` is `\"yes\"`; it must be true or false"
    );
    assert_eq!(fault("[events]\nextra_status = [1]"), "2:17 PD0103 `extra_status` is `1`; it must be text in quotes");
    assert_eq!(
        fault("[sinks.file]\ndir = \"x\""),
        "2:1 PD0103 `dir` stands in `[sinks.file]`; a sink needs a name: `[sinks.file.main]`"
    );
}

#[test]
fn what_only_follows_from_a_syntax_error_is_not_said() {
    for text in [
        "[[inputs.pythond]]\nname = \"a\ncmd = \"python3\"\ndirs = [\"mytest\"]\n",
        "[logging]\nlevel = loud\n",
        "[sinks.influxdb.x\nurl = \"http://h\"\n",
    ] {
        assert!(fault(text).contains(" PD0101 "), "{text}");
    }
}

#[test]
fn bytes_that_are_no_utf8_have_a_place() {
    let root = Root::with(&[("a.conf", "")]);
    std::fs::write(root.path("conf.d/a.conf"), b"[logging]\ndir = \"\xe4\"\n").unwrap();
    assert_eq!(root.faults(), ["conf.d/a.conf:2:8 PD0101 the file is not UTF-8"]);
}

// --- inputs ---

#[test]
fn an_input_has_what_is_written_and_defaults_for_the_rest() {
    let root = Root::with(&[("t.conf", &input(""))]);
    let found = root.config().inputs.remove(0);
    let mut expected = config::InputTable::plain("a", "python3", root.path("python.d/mytest"));
    assert_eq!((found.origin.line, found.origin.column), (1, 1));
    expected.origin = found.origin.clone();
    (expected.base, expected.bases) = (root.path("python.d"), vec![root.path("python.d")]);
    assert_eq!(found, expected);
    assert_eq!((expected.stop_grace, expected.nice, expected.enabled), (Duration::from_secs(5), 5, true));
}

#[test]
fn every_key_of_an_input_is_taken() {
    let more = "envs = ['A=1=2', 'B=~/lib:$HOME']\ntags = { team = \"web\", node = \"__datakit_hostname\" }\nrun_timeout = \"1m30s\"\n\
                stop_grace = 7\nmemory_max = \"256MiB\"\nnice = -3\nisolation = \"class\"\nenabled = false\n\
                user = \"nobody\"\nrestart = \"on-failure\"\nmax_age = \"12h\"\nmax_runs = 1000\numask = \"027\"\ncwd = \"python.d\"\n\
                config = { url = \"$HOME\", n = 1, f = 1.5, list = [true], day = 2026-11-21 }";
    let root = Root::with(&[("t.conf", &input(more))]);
    let home = root.path("home").display().to_string();
    let input = root.config().inputs.remove(0);
    assert_eq!(input.envs, [("A".to_owned(), "1=2".to_owned()), ("B".to_owned(), format!("{home}/lib:{home}"))]);
    assert_eq!(
        input.tags,
        BTreeMap::from([("team".to_owned(), "web".to_owned()), ("node".to_owned(), "box".to_owned())])
    );
    assert_eq!((input.run_timeout, input.stop_grace), (Some(Duration::from_secs(90)), Duration::from_secs(7)));
    assert_eq!((input.memory_max, input.nice, input.enabled), (Some(256 << 20), -3, false));
    assert_eq!((input.user.as_deref(), input.restart), (Some("nobody"), config::Restart::OnFailure));
    assert_eq!((input.max_age, input.max_runs), (Some(Duration::from_secs(12 * 3600)), Some(1000)));
    assert_eq!((input.umask, input.cwd), (Some(0o027), Some(root.path("python.d"))));
    assert_eq!(input.config, serde_json::json!({"url": home, "n": 1, "f": 1.5, "list": [true], "day": "2026-11-21"}));
}

#[test]
fn both_forms_of_an_input_are_taken_from_any_file() {
    let one = "[inputs.pythond]\nname = \"b\"\ncmd = \"python3\"\ndirs = [\"mytest\"]\n";
    let root = Root::with(&[("a.conf", &input("")), ("b.conf", one), ("c.conf", &one.replace("\"b\"", "\"c\""))]);
    assert_eq!(root.config().inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn the_name_loses_its_white_space_as_in_datakit() {
    assert_eq!(
        config("[[inputs.pythond]]\nname = \" my \\t in\\r\\nputs\"\ncmd = \"python3\"\ndirs = [\"mytest\"]").inputs[0]
            .name,
        "myinputs"
    );
    assert_eq!(input_fault("name = \" \""), "2:8 PD0103 `name` is `\" \"`; it must be a name that is not empty");
    for bad in ["a/b", "a\\u0000b", "a\\u001bb"] {
        assert!(input_fault(&format!("name = \"{bad}\"")).contains("PD0103 `name` is"), "{bad}");
    }
    assert!(input_fault(&format!("name = \"{}\"", "x".repeat(201))).ends_with("a log file is named after it"));
}

#[test]
fn required_keys_must_be_there() {
    let missing = |key: &str| format!("1:1 PD0104 `{key}` is missing in `[[inputs.pythond]]`");
    assert_eq!(faults("[[inputs.pythond]]"), [missing("name"), missing("cmd"), missing("dirs")]);
    assert_eq!(fault("[sinks.dataway.x]"), "1:1 PD0104 `url` is missing in `[sinks.dataway.x]`");
}

#[test]
fn dirs_are_found_below_python_d_or_absolute() {
    let root = Root::new();
    root.file("else/b.py", "");
    let dirs = format!("dirs = [\"mytest\", \"./mytest/\", \"mytest/a.py\", \"{}\"]", root.path("else").display());
    root.file("conf.d/t.conf", &input("").replace("dirs = [\"mytest\"]", &dirs));
    let expected = ["python.d/mytest", "python.d/mytest/a.py", "else"].map(|name| root.path(name));
    assert_eq!(root.config().inputs[0].dirs, expected);
}

#[test]
fn a_dir_that_cannot_be_used_says_which_path_was_looked_for() {
    let place = "2:9 PD0106";
    assert_eq!(
        input_fault("dirs = [\"none\"]"),
        format!("{place} the folder `none` does not exist; looked for python.d/none")
    );
    assert!(input_fault("dirs = [\"core\"]").starts_with(&format!("{place} `core` holds the agent's own")));
    assert!(input_fault("dirs = [\"./core\"]").starts_with(place));
    assert_eq!(
        input_fault("dirs = [\"../bin/no\"]"),
        format!("{place} `python.d/../bin/no` is neither a folder nor a `.py` file")
    );
    assert_eq!(input_fault("dirs = []"), "2:8 PD0103 `dirs` is empty; name at least one folder below python.d");
    let both = input("").replace("\"mytest\"", "\"none\", \"mytest\", \"core\"");
    assert_eq!(faults(&both).len(), 2);
    assert!(input_fault("dirs = \"mytest\"").starts_with("2:8 PD0103 `dirs` is `\"mytest\"`; it must be a list"));
    assert!(input_fault("dirs = [1]").starts_with("2:9 PD0103 `dirs` is `1`"));
}

#[test]
fn an_interpreter_that_cannot_start_is_a_fault() {
    assert_eq!(input_fault("cmd = \"python9\""), "2:7 PD0107 the interpreter `python9` is not on PATH; searched bin");
    assert_eq!(input_fault("cmd = \"no\""), "2:7 PD0107 the interpreter `no` is not on PATH; searched bin");
    assert_eq!(input_fault("cmd = \"/none/python3\""), "2:7 PD0107 the interpreter `/none/python3` does not exist");
    assert_eq!(
        input_fault("cmd = \"/etc/passwd\""),
        "2:7 PD0107 the interpreter `/etc/passwd` is not a program that can be run"
    );
    assert!(input_fault("cmd = \"venv/bin/python3\"").contains("it must be a name on PATH"));
    assert!(input_fault("cmd = \"\"").contains("it must be text that is not empty"));
    let root = Root::with(&[("t.conf", &input("").replace("\"python3\"", "\"python3 -u\""))]);
    assert_eq!(
        root.read().unwrap_err().faults[0].help.as_deref(),
        Some("`cmd` takes no arguments; write `cmd = \"python3\"`")
    );
}

#[test]
fn a_disabled_input_may_wait_for_its_folder_and_interpreter() {
    let text = "[[inputs.pythond]]\nname = \"a\"\ncmd = \"python9\"\ndirs = [\"none\"]\nenabled = false";
    assert!(!config(text).inputs[0].enabled);
}

#[test]
fn values_of_an_input_out_of_range_say_what_would_be_right() {
    for (line, end) in [
        ("envs = ['A']", "it must be `NAME=value`"),
        ("envs = ['=A']", "it must be `NAME=value`"),
        ("tags = { a = 1 }", "it must be text in quotes"),
        ("tags = { a = \"$datakit_ip\" }", "only `__datakit_hostname` is known here"),
        ("run_timeout = 0", "it must be a duration from 1ms to 1d"),
        ("run_timeout = \"ten\"", "\"500ms\" or a number of seconds"),
        ("memory_max = \"1MiB\"", "it must be a size from 16MiB to 1024TiB"),
        ("nice = 20", "it must be a whole number from -20 to 19"),
        ("nice = 1.5", "it must be a whole number from -20 to 19"),
        ("config = 1", "it must be a table such as { url = \"http://localhost\" }"),
        ("config = { a = nan }", "`NaN` is no number, which a script cannot be given"),
        ("isolation = \"none\"", "it must be \"script\", \"class\" or \"input\""),
        ("isolation = true", "it must be \"script\", \"class\" or \"input\""),
        ("user = \"a b\"", "it must be the name or the number of a user such as \"nobody\""),
        ("user = 0", "it must be text in quotes"),
        ("restart = \"sometimes\"", "it must be \"always\", \"on-failure\" or \"never\""),
        ("max_age = 0", "it must be a duration from 1s to 365d"),
        ("max_runs = 0", "it must be a whole number from 1 to 1000000000"),
        ("umask = 27", "it must be octal digits in quotes such as \"027\""),
        ("umask = \"0888\"", "it must be octal digits in quotes such as \"027\""),
        ("umask = \"1777\"", "it must be octal digits in quotes such as \"027\""),
    ] {
        let found = input_fault(line);
        assert!(found.ends_with(end) && found.contains(" PD0103 "), "{line}: {found}");
    }
}

// --- variables and secrets ---

#[test]
fn variables_are_filled_in_everywhere_and_places_stay_true() {
    let text = "[[inputs.pythond]]\nname = \"$WHO\"\ncmd = \"python3\"\ndirs = [\"mytest\"]\nnice = $N\nenvs = ['A=$QUOTED', 'B=$UNSET']\n";
    let root = Root::with(&[("t.conf", text)]).env("WHO", "me").env("N", "7").env("QUOTED", "\"'\\");
    let input = root.config().inputs.remove(0);
    assert_eq!((input.name.as_str(), input.nice), ("me", 7));
    assert_eq!(input.envs[0].1, "\"'\\");
    assert_eq!(input.envs[1].1, "$UNSET");
    let root = Root::with(&[("t.conf", &format!("{}nice = [$N, $N] # x\nx = 1\n", input_head()))]).env("N", "1234567");
    let found = root.faults();
    assert!(
        found[0].starts_with("conf.d/t.conf:5:8 PD0103") && found[1].starts_with("conf.d/t.conf:6:1 PD0102"),
        "{found:?}"
    );
}

/// Each value that is written out in a file which every user may read is named with its place, and none is shown.
#[test]
fn a_secret_in_a_settings_file_that_others_may_read_is_warned_of() {
    let text = "[http_api]\ntokens = [\"plain\", \"$T\", \"${env:T}\"]\n[sinks.influxdb.x]\nurl = \"http://h:1\"\norg = \"o\"\nbucket = \"b\"\n  token = \"abcdef\"\n[sinks.dataway.y]\nurl = \"https://h/?token=tkn_1\"\n";
    let root = Root::with(&[("t.conf", text)]).env("T", "from the environment");
    for (mode, expected) in
        [(0o644, vec!["2:11", "7:11", "9:7"]), (0o604, vec!["2:11", "7:11", "9:7"]), (0o640, vec![]), (0o600, vec![])]
    {
        root.mode("conf.d/t.conf", mode);
        let shown = root.shown(&root.config().warnings);
        let warned: Vec<&String> = shown.iter().filter(|warning| warning.contains("PD0109")).collect();
        let places: Vec<&str> =
            warned.iter().map(|line| line.split(' ').next().unwrap().strip_prefix("conf.d/t.conf:").unwrap()).collect();
        assert_eq!(places, expected, "{mode:o} {warned:?}");
        assert!(!warned.iter().any(|line| line.contains("abcdef") || line.contains("plain") || line.contains("tkn_1")));
    }
    root.mode("conf.d/t.conf", 0o644);
    let shown = root.shown(&root.config().warnings);
    let message = "a secret stands in this file, which every user may read (mode 644)";
    assert!(shown.iter().any(|line| line.ends_with(message)), "{shown:?}");
}

#[test]
fn a_group_is_one_of_this_machine() {
    let text = "[buffer]\ngroup = \"root\"\n[logging]\ngroup = \"0\"\n";
    let config = Root::with(&[("t.conf", text)]).config();
    assert_eq!((config.buffer.group, config.logging.group), (Some(0), Some(0)));
    let root = Root::with(&[("t.conf", "[buffer]\ngroup = \"surely-nobody\"\n")]);
    assert_eq!(root.faults(), ["conf.d/t.conf:2:9 PD0103 there is no group `surely-nobody` on this machine"]);
}

fn input_head() -> String {
    input("").trim_end().to_owned() + "\n"
}

#[test]
fn an_unset_variable_outside_of_quotes_is_named() {
    let root = Root::with(&[("t.conf", "[http_api]\nmax_connections = $N\n")]);
    let faults = root.read().unwrap_err().faults;
    assert_eq!((faults.len(), faults[0].code.as_str()), (1, "PD0101"));
    assert_eq!(faults[0].notes, ["`$N` is not set in the environment"]);
}

#[test]
fn secrets_come_from_the_environment_or_a_file() {
    let text = "[http_api]\ntokens = [\"${env:T}\", \"plain\"]\n[sinks.influxdb.x]\nurl = \"http://h:1\"\norg = \"o\"\nbucket = \"b\"\ntoken = \"${file:secret}\"\n";
    let root = Root::with(&[("t.conf", text)]).env("T", "$HOME");
    root.file("secret", "abc\n").mode("secret", 0o600);
    root.mode("conf.d/t.conf", 0o600);
    let config = root.config();
    assert_eq!(config.http_api.tokens.iter().map(config::Secret::expose).collect::<Vec<_>>(), ["$HOME", "plain"]);
    let SinkKind::Influxdb(sink) = &config.sinks[0].kind else { panic!("{:?}", config.sinks) };
    assert!(matches!(&sink.api, InfluxdbApi::V2 { token: Some(token), .. } if token.expose() == "abc"));
    assert!(!format!("{config:?}").contains("abc"));
    assert!(!root.shown(&config.warnings).iter().any(|warning| warning.contains("PD0109")));
    root.mode("secret", 0o604);
    let warnings = root.shown(&root.config().warnings);
    assert!(
        warnings.contains(&"conf.d/t.conf:7:9 PD0109 the secret in `secret` can be read by every user".to_owned()),
        "{warnings:?}"
    );
}

/// The settings of an input of Panoptes with one more line.
fn panoptes(line: &str) -> String {
    format!("[[inputs.panoptes]]\npolling = [\"mytest\"]\n{line}\n")
}

#[test]
fn secrets_of_an_input_are_a_table_of_texts_or_a_folder() {
    let table = "secrets = { \"pw:local\" = \"${env:PW}\", \"key:default\" = \"${file:secret}\", plain = \"x\" }";
    let root = Root::with(&[("p.conf", &panoptes(table))]).env("PW", "s3cret");
    root.file("secret", "from a file\n").mode("secret", 0o600);
    let secrets = serde_json::json!({"pw:local": "s3cret", "key:default": "from a file", "plain": "x"});
    assert_eq!(root.config().inputs[0].settings["secrets"], secrets);
    let root = Root::with(&[("p.conf", &panoptes("secrets = \"vault\""))]);
    std::fs::create_dir(root.path("vault")).unwrap();
    assert_eq!(root.config().inputs[0].settings["secrets"], root.path("vault").display().to_string());

    let fault = |line: &str| fault(&panoptes(line));
    assert_eq!(fault("secrets = { a = \"${env:NONE}\" }"), "3:11 PD0108 the environment variable `NONE` is not set");
    assert!(
        fault("secrets = \"vault\"").contains("the folder `vault` does not exist"),
        "{}",
        fault("secrets = \"vault\"")
    );
    for wrong in ["secrets = { a = 5 }", "secrets = { a = { b = \"x\" } }"] {
        assert!(fault(wrong).contains("must be a table of texts, or a folder"), "{}", fault(wrong));
    }
    assert!(fault("secrets = 5").contains("must be a folder such as"), "{}", fault("secrets = 5"));
}

#[test]
fn keys_of_a_foreign_input_are_suggested_and_a_file_is_called_one() {
    let root = Root::with(&[("p.conf", &panoptes("scan_intervall = \"5s\""))]);
    let faults = root.read().expect_err("an unknown key").faults;
    assert_eq!(faults[0].place.as_ref().unwrap().label, "did you mean `scan_interval`?", "{faults:#?}");
    let told = fault(&panoptes("resources = \"none.json\""));
    assert!(told.contains("the file `none.json` does not exist; looked for "), "{told}");
}

#[test]
fn how_often_an_input_is_scanned_is_the_agents_and_no_unit_is_told() {
    let input = |line: &str| config(&panoptes(line)).inputs.remove(0);
    assert_eq!(input("").scan, Some(Duration::from_secs(60)));
    let own = input("scan_interval = \"1m30s\"");
    assert_eq!(own.scan, Some(Duration::from_secs(90)));
    assert!(own.settings.get("scan_interval").is_none(), "a change of it concerns no unit");
    for wrong in ["\"0s\"", "\"10ms\"", "\"often\"", "\"2d\""] {
        let told = fault(&panoptes(&format!("scan_interval = {wrong}")));
        assert!(told.starts_with("3:17 PD0103 `scan_interval`"), "{told}");
    }
    assert_eq!(
        config("[[inputs.pythond]]\nname = \"a\"\ncmd = \"python3\"\ndirs = [\"mytest\"]\n").inputs[0].scan,
        None
    );
}

#[test]
fn a_secret_that_cannot_be_had_is_a_fault() {
    assert_eq!(fault("[http_api]\ntokens = [\"${env:T}\"]"), "2:11 PD0108 the environment variable `T` is not set");
    assert!(
        fault("[http_api]\ntokens = [\"${file:none}\"]").starts_with("2:11 PD0108 could not read the secret in `none`")
    );
    assert_eq!(fault("[http_api]\ntokens = [\"\"]"), "2:11 PD0103 the secret is empty");
    assert!(
        fault("[logging]\ndir = \"${env:HOME}\"")
            .contains("they work in the settings of sinks and git repositories, in `tokens` and in `secrets` only")
    );
}

#[test]
fn no_fault_shows_a_secret() {
    for text in [
        "[sinks.dataway.x]\nurl = \"s3cret://h?token=s3cret\"\n",
        "[sinks.dataway.x]\nurl = \"https://h:s3cret/?token=s3cret",
        "[sinks.influxdb.x]\nurl = \"http://u:s3cret@h\"\ndatabase = \"d\"\n",
        "[sinks.influxdb.x]\nurl = \"http://h\"\ndatabase = \"d\"\ntoken = \"s3cret\"\n",
        "[http_api]\ntokens = \"s3cret\"\n",
        "[http_api]\ntokens = [\"s3cret\", 1]\n",
    ] {
        let root = Root::with(&[("t.conf", text)]);
        let rendered: Vec<String> =
            root.read().unwrap_err().faults.iter().map(|fault| fault.render(Path::new("/"), false)).collect();
        // The scheme is shown, since it is what is wrong.
        let shown = rendered.join("\n").replace("starts with `s3cret:`", "");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

// --- the other tables ---

#[test]
fn addresses_are_taken_as_datakit_writes_them() {
    for (written, listen) in [
        ("localhost:9529", "127.0.0.1:9529"),
        ("127.0.0.1:0", "127.0.0.1:0"),
        ("[::1]:80", "[::1]:80"),
        ("[::]:9529", "[::]:9529"),
        (":9529", "0.0.0.0:9529"),
    ] {
        let text = format!("[http_api]\nlisten = \"{written}\"\ntokens = [\"t\"]");
        assert_eq!(config(&text).http_api.listen.to_string(), listen);
    }
    for bad in ["localhost", "host:9529", "127.0.0.1", "127.0.0.1:70000", "/run/x.sock", "9529"] {
        assert!(fault(&format!("[http_api]\nlisten = \"{bad}\"")).starts_with("2:10 PD0103"), "{bad}");
    }
}

#[test]
fn beyond_loopback_tokens_are_needed() {
    for listen in [":9529", "[::]:9529", "10.0.0.1:9529"] {
        assert!(fault(&format!("[http_api]\nlisten = \"{listen}\"")).starts_with("2:10 PD0110"), "{listen}");
        assert!(
            fault(&format!("[http_api]\nlisten = \"{listen}\"\ntokens = []")).starts_with("2:10 PD0110"),
            "{listen}"
        );
    }
}

#[test]
fn the_endpoint_obeys_what_is_written() {
    let text = "[http_api]\nsocket = \"x/y.sock\"\nmax_body = \"64KiB\"\ntimeout = \"5s\"\nmax_connections = 9\n\
                allowed_origins = [\"https://wall.example\", \"*\"]\nallowed_hosts = [\"collector.example\"]\n";
    let root = Root::with(&[("t.conf", text)]);
    let api = root.config().http_api;
    assert_eq!((api.socket, api.max_body, api.timeout), (root.path("x/y.sock"), 64 << 10, Duration::from_secs(5)));
    assert_eq!((api.max_connections, api.allowed_hosts), (9, vec!["collector.example".to_owned()]));
    assert_eq!(api.allowed_origins, ["https://wall.example", "*"]);
    assert!(fault("[http_api]\nmax_connections = 0").ends_with("it must be a whole number from 1 to 65536"));
    assert!(fault("[http_api]\nmax_body = 1").ends_with("it must be a size from 1KiB to 1GiB"));
    assert!(fault("[http_api]\ntimeout = \"1h\"").ends_with("it must be a duration from 100ms to 10m"));
    assert!(fault("[http_api]\nallowed_origins = [\"wall.example\"]").contains("it must be an origin"));
    assert!(fault("[http_api.tls]\ncert = \"a\"\nkey = \"b\"").starts_with("1:11 PD0103 this version has no TLS"));
}

#[test]
fn the_small_tables_obey_what_is_written() {
    let text = "[ingest]\nintegers = \"keep\"\n[series]\nmax = 5000\n[events]\non_invalid = \"warn\"\nextra_status = [\"meh\"]\nextra_source = [\"x\"]\n\
                [buffer]\nmax_size = \"16MiB\"\nat_cap = \"drop_oldest\"\nsync = \"interval\"\n[logging]\nlevel = \"debug\"\ndir = \"~/logs\"\n\
                [global_tags]\nhost = \"h\"\nzone = \"$datakit_hostname\"\n";
    let root = Root::with(&[("t.conf", text)]);
    let config = root.config();
    assert_eq!((config.ingest.integers, config.series.max), (Integers::Keep, 5000));
    assert_eq!((config.events.on_invalid, &config.events.extra_status[..]), (OnInvalid::Warn, &["meh".to_owned()][..]));
    assert_eq!(config.events.extra_source, ["x"]);
    assert_eq!(
        (config.buffer.max_size, config.buffer.at_cap, config.buffer.sync),
        (16 << 20, AtCap::DropOldest, Sync::Interval)
    );
    assert_eq!((config.logging.level, config.logging.dir), (Level::Debug, root.path("home/logs")));
    assert_eq!(
        config.global_tags,
        BTreeMap::from([("host".to_owned(), "h".to_owned()), ("zone".to_owned(), "box".to_owned())])
    );
}

#[test]
fn values_of_the_small_tables_say_what_would_be_right() {
    assert!(fault("[buffer]\nmax_size = \"1MiB\"").ends_with("it must be at least 16MiB"));
    assert!(fault("[buffer]\nmax_size = -1").contains("it must be a size such as"));
    assert!(fault("[buffer]\nsync = \"never\"").ends_with("it must be \"group\" or \"interval\""));
    assert!(fault("[ingest]\nintegers = true").ends_with("it must be \"float\" or \"keep\""));
    assert!(fault("[series]\nmax = 0").ends_with("it must be a whole number from 1 to 100000000"));
    assert!(fault("[global_tags]\nzone = \"\"").ends_with("it must be text that is not empty"));
    assert!(fault("[logging]\ndir = \"bin/no\"").ends_with("`bin/no` is a file; it must be a directory"));
}

#[test]
fn without_settings_the_defaults_stand() {
    let root = Root::with(&[("a.conf", "")]);
    let config = root.config();
    assert_eq!(config.http_api.listen.to_string(), "127.0.0.1:9529");
    assert_eq!(config.http_api.socket, root.path("data/run/pythond.sock"));
    assert_eq!(config.logging.dir, root.path("home"));
    assert_eq!(config.global_tags, BTreeMap::from([("host".to_owned(), "box".to_owned())]));
    assert!(config.default_sink);
    assert_eq!(config.sinks, [config::SinkSettings::default_in(root.dir.path())]);
    let mut homeless = Root::with(&[("a.conf", "")]);
    homeless.around.env.remove("HOME");
    assert_eq!(homeless.config().logging.dir, homeless.path("data/log"));
}

// --- sinks ---

fn sink(lines: &str) -> config::SinkSettings {
    config(&format!("[sinks.influxdb.x]\nurl = \"https://h:8086/\"\n{lines}")).sinks.remove(0)
}

fn influxdb_fault(lines: &str) -> String {
    fault(&format!("[sinks.influxdb.x]\nurl = \"https://h:8086/\"\n{lines}"))
}

#[test]
fn a_sink_obeys_what_is_written() {
    let lines = "database = \"d\"\ncategories = [\"metric\", \"keyevent\"]\nrequired = false\nlinger = \"1s\"\ntimeout = 3\nmax_batch = \"64KiB\"\ngzip = false";
    let sink = sink(lines);
    assert_eq!((sink.name.as_str(), sink.kind.as_str(), sink.origin.line), ("x", "influxdb", 1));
    assert_eq!(sink.categories, Some(vec![Category::Metric, Category::KeyEvent]));
    assert_eq!((sink.required, sink.linger, sink.timeout), (false, Duration::from_secs(1), Duration::from_secs(3)));
    assert_eq!(sink.max_batch, 64 << 10);
    let SinkKind::Influxdb(influxdb) = sink.kind else { panic!("{sink:?}") };
    assert_eq!((influxdb.url.as_str(), influxdb.gzip), ("https://h:8086", false));
}

#[test]
fn each_version_of_influxdb_has_its_keys() {
    let api = |lines: &str| match sink(lines).kind {
        SinkKind::Influxdb(influxdb) => influxdb.api,
        other => panic!("{other:?}"),
    };
    assert!(matches!(api("database = \"d\""), InfluxdbApi::V1 { login: None, retention_policy: None, .. }));
    let login = api("database = \"d\"\nusername = \"u\"\npassword = \"p\"\nretention_policy = \"r\"");
    assert!(matches!(login, InfluxdbApi::V1 { login: Some((user, _)), retention_policy: Some(_), .. } if user == "u"));
    assert!(matches!(api("org = \"o\"\nbucket = \"b\""), InfluxdbApi::V2 { token: None, .. }));
    assert!(matches!(api("version = \"v3\"\ndatabase = \"d\"\ntoken = \"t\""), InfluxdbApi::V3 { token: Some(_), .. }));
}

#[test]
fn keys_of_another_version_of_influxdb_are_refused() {
    assert_eq!(influxdb_fault(""), "1:1 PD0104 `database` is missing in `[sinks.influxdb.x]`");
    assert_eq!(influxdb_fault("bucket = \"b\""), "1:1 PD0104 `org` is missing in `[sinks.influxdb.x]`");
    assert!(
        influxdb_fault("database = \"d\"\ntoken = \"t\"")
            .starts_with("4:1 PD0103 `token` belongs to InfluxDB v2 and v3, but this sink speaks v1")
    );
    assert!(
        influxdb_fault("org = \"o\"\nbucket = \"b\"\ndatabase = \"d\"")
            .starts_with("5:1 PD0103 `database` belongs to InfluxDB v1 and v3")
    );
    assert!(influxdb_fault("database = \"d\"\nusername = \"u\"").ends_with("`username` is given without `password`"));
    assert!(influxdb_fault("database = \"d\"\npassword = \"u\"").ends_with("`password` is given without `username`"));
    assert!(
        influxdb_fault("version = 2\norg = \"o\"\nbucket = \"b\"").ends_with("it must be \"v1\", \"v2\" or \"v3\"")
    );
}

#[test]
fn urls_of_sinks_are_checked() {
    let with = |url: &str| fault(&format!("[sinks.influxdb.x]\nurl = \"{url}\"\ndatabase = \"d\""));
    for bad in ["ftp://h", "h:8086", "http://", "http://h:99999", "", "http://u:p@h", "http://h/?db=x", "http://h#x"] {
        assert!(with(bad).starts_with("2:7 PD0110"), "{bad}: {}", with(bad));
    }
    assert!(fault("[sinks.dataway.x]\nurl = \"https://h\"").ends_with("PD0110 `url` has no token"));
    let root = Root::with(&[("t.conf", "[sinks.dataway.x]\nurl = \"https://h?token=${env:T}\"")]).env("T", "tkn_1");
    let SinkKind::Dataway(dataway) = root.config().sinks.remove(0).kind else { panic!() };
    assert_eq!((dataway.url.expose(), dataway.gzip), ("https://h?token=tkn_1", true));
}

fn kind(text: &str) -> SinkKind {
    config(text).sinks.remove(0).kind
}

#[test]
fn a_sink_may_take_some_measurements_only() {
    let sink = sink("database = \"d\"\nmeasurements = [\"cpu*\", \"mem\"]");
    assert_eq!(sink.measurements, Some(vec![Glob::new("cpu*"), Glob::new("mem")]));
    assert!(influxdb_fault("database = \"d\"\nmeasurements = []").ends_with("leave it out to take all"));
    assert!(influxdb_fault("database = \"d\"\nmeasurements = [\"\"]").ends_with("it must be text that is not empty"));
}

#[test]
fn kinds_over_http_have_their_keys_and_defaults() {
    let vm = "[sinks.victoriametrics.x]\nurl = \"http://h:8428/\"\n";
    let http = HttpSettings::default_of("http://h:8428");
    let expected = VictoriametricsSink { http: http.clone(), extra_labels: Vec::new() };
    assert_eq!(kind(vm), SinkKind::Victoriametrics(expected));
    let SinkKind::Victoriametrics(given) =
        kind(&format!("{vm}extra_labels = {{ dc = \"a\", az = \"b\" }}\ntoken = \"t\"\ngzip = false"))
    else {
        panic!()
    };
    let labels = [("az", "b"), ("dc", "a")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((given.extra_labels.as_slice(), given.http.gzip), (&labels[..], false));
    assert_eq!(given.http.login, Login::Token(Secret::new("t")));
    let both = fault(&format!("{vm}username = \"u\"\npassword = \"p\"\ntoken = \"t\""));
    assert!(both.ends_with("`token` is given besides `username` and `password`; remove one of them"), "{both}");
    assert!(fault(&format!("{vm}username = \"u\"")).ends_with("`username` is given without `password`"));
    assert_eq!(
        kind("[sinks.telegraf.x]\nurl = \"http://h:8428\"\ndatabase = \"d\""),
        SinkKind::Telegraf(TelegrafSink { http: http.clone(), database: Some("d".to_owned()), retention_policy: None })
    );
    let greptimedb = "[sinks.greptimedb.x]\nurl = \"http://h:8428\"\n";
    assert_eq!(
        kind(greptimedb),
        SinkKind::Greptimedb(GreptimedbSink { http: http.clone(), database: "public".to_owned() })
    );
    assert!(fault(&format!("{greptimedb}token = \"t\"")).starts_with("3:1 PD0102 unknown key `token`"));
    assert_eq!(kind("[sinks.questdb.x]\nurl = \"http://h:8428\""), SinkKind::Questdb(QuestdbSink::Http(http)));
    for name in ["victoriametrics", "questdb", "telegraf", "greptimedb", "socket", "nats"] {
        let missing = fault(&format!("[sinks.{name}.x]"));
        assert_eq!(missing, format!("1:1 PD0104 `url` is missing in `[sinks.{name}.x]`"));
    }
}

#[test]
fn kinds_with_a_wire_of_their_own_check_their_address() {
    let questdb = |url: &str| format!("[sinks.questdb.x]\ntransport = \"tcp\"\nurl = \"{url}\"\n");
    let tcp = |address: &str| SinkKind::Questdb(QuestdbSink::Tcp { address: address.to_owned() });
    assert_eq!(kind(&questdb("tcp://h")), tcp("h:9009"));
    assert_eq!(kind(&questdb("tcp://[::1]:9010")), tcp("[::1]:9010"));
    assert_eq!(kind(&questdb("tcp://[::1]")), tcp("[::1]:9009"));
    assert!(fault(&questdb("http://h:9000")).ends_with("it must be like tcp://host:9009"));
    let login = fault(&format!("{}token = \"t\"", questdb("tcp://h")));
    assert!(login.starts_with("4:1 PD0103 `token` has no meaning for `transport = \"tcp\"`"), "{login}");

    let root = Root::with(&[("t.conf", "[sinks.socket.x]\nurl = \"unixgram://run/s\"\nmax_datagram = \"8KiB\"")]);
    let address = SocketAddress::UnixDatagram(root.path("run/s"));
    assert_eq!(root.config().sinks.remove(0).kind, SinkKind::Socket(SocketSink { address, max_datagram: 8192 }));
    let socket = |url: &str| format!("[sinks.socket.x]\nurl = \"{url}\"");
    let at = |address| SinkKind::Socket(SocketSink { address, max_datagram: 1400 });
    assert_eq!(kind(&socket("udp://h:1")), at(SocketAddress::Udp("h:1".to_owned())));
    assert_eq!(kind(&socket("tcp://h:1")), at(SocketAddress::Tcp("h:1".to_owned())));
    assert_eq!(kind(&socket("unix:///a/b")), at(SocketAddress::Unix("/a/b".into())));
    for bad in ["h:1", "http://h:1", "unix://", "tcp:h:1"] {
        assert!(fault(&socket(bad)).contains("it must be like tcp://host:port"), "{bad}");
    }
    for bad in ["tcp://h", "udp://:1", "tcp://h:99999", "tcp://h:0", "tcp://u:p@h:1", "tcp://h:1/x"] {
        assert!(fault(&socket(bad)).starts_with("2:7 PD0110"), "{bad}");
    }

    let nats = "[sinks.nats.x]\nurl = \"nats://h\"\n";
    let SinkKind::Nats(sink) = kind(nats) else { panic!() };
    assert_eq!((sink.address.as_str(), sink.subject.as_str()), ("h:4222", "pythond.{category}"));
    assert!(!sink.id.is_empty() && sink.login == Login::Nobody);
    let given = format!("{nats}subject = \"a.b\"\nid = \"w1\"\nusername = \"u\"\npassword = \"p\"");
    let SinkKind::Nats(sink) = kind(&given) else { panic!() };
    assert_eq!((sink.subject.as_str(), sink.id.as_str()), ("a.b", "w1"));
    assert_eq!(sink.login, Login::Password("u".to_owned(), Secret::new("p")));
    for bad in ["a..b", "a.*", ">", "a b", ".a"] {
        assert!(fault(&format!("{nats}subject = \"{bad}\"")).starts_with("3:11 PD0103"), "{bad}");
    }
}

#[test]
fn certificates_must_be_readable_and_of_use() {
    let text = |url: &str| format!("[sinks.influxdb.x]\nurl = \"{url}\"\ndatabase = \"d\"\nca_file = \"ca.pem\"");
    let root = Root::with(&[("t.conf", &text("https://h"))]);
    assert!(root.faults()[0].contains("could not read the certificates in `ca.pem`"));
    root.file("ca.pem", "x");
    assert!(root.faults()[0].ends_with("`ca.pem` holds no certificate in PEM form"));
    root.file("ca.pem", "-----BEGIN CERTIFICATE-----\n");
    root.config();
    root.file("conf.d/t.conf", &text("http://h"));
    assert!(root.faults()[0].contains("4:11 PD0103 `ca_file` has no meaning for `http://`"));
}

#[test]
fn values_of_sinks_say_what_would_be_right() {
    let with = |line: &str| fault(&format!("[sinks.file.x]\n{line}"));
    assert_eq!(with("categories = [\"metrics\"]"), "2:15 PD0103 unknown category `metrics`");
    assert!(with("categories = [\"zzz\"]").contains("the categories are `metric`,"));
    assert!(with("categories = []").ends_with("leave it out to take all"));
    assert!(with("linger = \"2m\"").ends_with("it must be a duration from 0s to 1m"));
    assert!(with("timeout = 0").ends_with("it must be a duration from 100ms to 10m"));
    assert!(with("max_batch = 1").ends_with("it must be a size from 4KiB to 64MiB"));
    assert!(with("keep = 0").ends_with("it must be a whole number from 1 to 100000"));
    assert!(with("max_file = 0").ends_with("it must be a size from 1KiB to 1024TiB"));
}

#[test]
fn names_and_directories_of_sinks_are_apart() {
    assert!(fault("[sinks.file.\"a/b\"]").contains("the sink is called `a/b`"));
    assert!(fault("[sinks.file.ingest]").contains("cannot be called `ingest`"));
    let twice = "[sinks.file.a]\n[sinks.file.b]\n";
    assert_eq!(fault(twice), "2:1 PD0105 `dir = \"data/points\"` is given twice");
    assert_eq!(config(&format!("{twice}dir = \"other\"\n")).sinks.len(), 2);
}

// --- the files that are shipped ---

fn shipped(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("conf.d").join(name)).unwrap()
}

#[test]
fn the_shipped_settings_load_and_run_the_demo() {
    let root = Root::with(&[("pythond.conf", &shipped("pythond.conf")), ("agent.conf", &shipped("agent.conf"))]);
    root.file("python.d/Demo/demo.py", "");
    let config = root.config();
    assert_eq!(root.shown(&config.warnings), Vec::<String>::new());
    assert_eq!(config.inputs.len(), 1);
    assert_eq!((config.inputs[0].name.as_str(), config.inputs[0].enabled), ("demo", true));
    assert!(config.default_sink);
}

/// The sample with the `#` gone from every line `#key = value` and `#[table]`.
fn uncommented(text: &str) -> String {
    let is_setting = |line: &&str| {
        line.starts_with("#[")
            || line[1..].split_once(" = ").is_some_and(|(key, _)| !key.is_empty() && !key.contains([' ', '`', '#']))
    };
    text.lines()
        .map(|line| if line.starts_with('#') && is_setting(&line) { &line[1..] } else { line })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn every_key_in_the_sample_has_the_default_that_is_built_in() {
    let text = uncommented(&shipped("agent.conf"));
    for table in [
        "[workers]",
        "[http_api]",
        "[ingest]",
        "[series]",
        "[events]",
        "[buffer]",
        "[logging]",
        "[reload]",
        "[global_tags]",
        "[sinks.file.local]",
        "[git_repos]",
        "[[git_repos.repo]]",
    ] {
        assert!(text.lines().any(|line| line == table), "{table} is not in the sample");
    }
    let keys = text.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count();
    assert_eq!(keys, 45, "a key was added or removed: is it in the sample?");
    let root = Root::with(&[("agent.conf", &text)]);
    let written = root.config();
    std::fs::write(root.path("conf.d/agent.conf"), "").unwrap();
    let built_in = root.config();
    assert_eq!(written.workers, built_in.workers);
    assert_eq!(written.http_api, built_in.http_api);
    assert_eq!(written.ingest, built_in.ingest);
    assert_eq!(written.series, built_in.series);
    assert_eq!(written.events, built_in.events);
    assert_eq!(written.buffer, built_in.buffer);
    assert_eq!(written.logging, built_in.logging);
    assert_eq!(written.reload, built_in.reload);
    assert_eq!(written.global_tags, built_in.global_tags);
    assert_eq!(written.git_repos, built_in.git_repos);
    let enabled = text.replace("enable = false", "enable = true");
    std::fs::write(root.path("conf.d/agent.conf"), enabled.replace("url = \"\"", "url = \"/srv/c.git\"")).unwrap();
    let mut repo = root.config().git_repos.repos.remove(0);
    repo.origin = config::Origin::default();
    assert_eq!(repo, config::RepoSettings::plain("collectors", config::repos::RepoUrl::parse("/srv/c.git").unwrap().0));
    let mut sink = written.sinks[0].clone();
    sink.origin = built_in.sinks[0].origin.clone();
    assert_eq!(vec![sink], built_in.sinks);
}

#[test]
fn the_zygote_can_be_turned_off_and_nothing_else_is_taken_for_that() {
    let read = |text: &str| Root::with(&[("t.conf", text)]);
    assert_eq!(read("").config().workers.zygote, config::ZygoteTable::Auto);
    assert_eq!(read("[workers]\nzygote = \"off\"\n").config().workers.zygote, config::ZygoteTable::Off);
    for wrong in ["false", "\"on\"", "0"] {
        let root = read(&format!("[workers]\nzygote = {wrong}\n"));
        let error = config::read(root.dir.path(), &config::Surroundings::of_this_process()).unwrap_err();
        assert!(error.faults[0].message.contains("`zygote`"), "{:?}", error.faults[0]);
    }
}

#[test]
fn every_example_in_the_sample_is_accepted() {
    // Examples are indented by three blanks behind the `#`.
    let text = shipped("agent.conf");
    let lines: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let sinks = lines.iter().position(|line| line.starts_with("[sinks.")).unwrap();
    let shared = lines.iter().position(|line| line.starts_with("categories")).unwrap();
    let (input_keys, sink_keys, examples) = (&lines[..shared], &lines[shared..sinks], &lines[sinks..]);
    assert_eq!((input_keys.len(), sink_keys.len()), (16, 8));
    let mut text = input(&input_keys.join("\n")) + &examples.join("\n") + "\n";
    text += &format!(
        "[sinks.influxdb.all]\nurl = \"https://h\"\ndatabase = \"d\"\n{}\n",
        sink_keys.join("\n").replace("/etc/pythond/", "")
    );
    let text = text.replace("/etc/pythond/", "");
    let root =
        Root::with(&[("t.conf", &text)]).env("INFLUX_PASSWORD", "p").env("INFLUX_TOKEN", "t").env("DATAWAY_TOKEN", "t");
    root.file("influx.token", "t").file("ca.pem", "-----BEGIN CERTIFICATE-----\n").mode("influx.token", 0o600);
    let config = root.config();
    assert_eq!((config.inputs.len(), config.sinks.len(), config.git_repos.repos.len()), (1, 11, 2));
}

#[test]
fn this_process_has_a_host_name_and_an_environment() {
    let around = Surroundings::of_this_process();
    assert!(!around.hostname.is_empty());
    assert_eq!(around.env.get("PATH").map(String::as_str), std::env::var("PATH").ok().as_deref());
}

#[test]
fn a_folder_in_the_wrong_case_is_told_by_its_right_name() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("python.d/mytest")).unwrap();
    std::fs::create_dir(root.path().join("conf.d")).unwrap();
    std::fs::write(
        root.path().join("conf.d/a.conf"),
        "[[inputs.pythond]]\nname = \"a\"\ncmd = \"python3\"\ndirs = [\"MyTest\"]\n",
    )
    .unwrap();
    let error = config::read(root.path(), &config::Surroundings::of_this_process()).unwrap_err();
    let help = error.faults[0].help.clone().unwrap();
    assert_eq!(help, "there is `mytest`; upper and lower case differ");
}
