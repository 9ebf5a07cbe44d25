//! The dialects: the collector APIs that run here. This is the only list of them in Rust; each has a folder of Python below
//! `sdk-python/pythond/dialects/`, and a test holds the two against each other.
//!
//! The agent knows no more of a dialect than stands here: how its inputs are written, who finds its units, and which files are its own. A new
//! one is a variant with its facts, and a folder.

/// A collector API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    Datakit,
    Netdata,
    Collectd,
    Panoptes,
    /// For the tests: its Python lies in `sdk-python/tests/dialects/` and is carried by debug builds only.
    #[cfg(debug_assertions)]
    Tally,
}

/// All that the agent knows of a dialect.
#[derive(Debug)]
pub struct DialectFacts {
    /// `[[inputs.<table>]]`
    pub table: &'static str,
    /// Its folder in the Python package.
    pub folder: &'static str,
    /// What its units are called in messages.
    pub noun: &'static str,
    /// Who finds its units.
    pub finder: Finder,
    /// The words of `isolation`, the default first.
    pub isolation: &'static [(&'static str, Isolation)],
    /// What the names of its files end with; of several dialects the longest ending decides.
    pub endings: &'static [&'static str],
    /// What else `pythond run` takes for a file of it, where it is told so or where one of its inputs names the place.
    pub by_hand: &'static [&'static str],
    /// Its own keys in an input, beside those that all have.
    pub keys: &'static [DialectKey],
    /// An input needs at least one of these keys.
    pub needs: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finder {
    /// The agent, by the names of files; no Python runs.
    Names,
    /// A throw-away worker that runs the dialect's `list`.
    Lister,
}

/// What has a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isolation {
    /// As in the settings, and as the dialect is told.
    pub word: &'static str,
    pub each: Each,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Each {
    /// Each unit that is found by its name.
    Found,
    /// Each unit that a lister tells, or those that it puts together.
    Told,
    /// The input, with all its units.
    Input,
}

/// A key of a dialect's own.
#[derive(Debug)]
pub struct DialectKey {
    pub name: &'static str,
    pub kind: KeyKind,
    /// As JSON; absent: the dialect is not told the key.
    pub default: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
pub enum KeyKind {
    Text,
    Texts,
    /// Files, by these endings, or folders below `python.d` (of each git repository, then the local one), or absolute ones.
    Paths(&'static [&'static str]),
    /// One file or folder of that kind.
    Path(&'static [&'static str]),
    Flag,
    /// A duration; the dialect is told seconds.
    Duration,
    /// A duration: how often the agent looks at what the input has read, besides watching it. The dialect is not told it.
    Scan,
    Number(i64, i64),
    Word(&'static [&'static str]),
    /// A flag, or one of these words.
    FlagOr(&'static [&'static str]),
    /// A table, handed on as it is.
    Table,
    /// A folder of files with secrets, or a table of texts in which `${env:…}` and `${file:…}` stand for secrets.
    Secrets,
}

impl DialectKey {
    pub fn default_value(&self) -> Option<serde_json::Value> {
        self.default.map(|text| serde_json::from_str(text).expect("a test holds that every default is JSON"))
    }
}

const fn is(word: &'static str, each: Each) -> (&'static str, Isolation) {
    (word, Isolation { word, each })
}

const fn key(name: &'static str, kind: KeyKind, default: Option<&'static str>) -> DialectKey {
    DialectKey { name, kind, default }
}

const DATAKIT: DialectFacts = DialectFacts {
    table: "pythond",
    folder: "datakit",
    noun: "script",
    finder: Finder::Names,
    isolation: &[is("script", Each::Found), is("class", Each::Told), is("input", Each::Input)],
    endings: &[".py"],
    by_hand: &[],
    // `dirs` is read with the words that its users know.
    keys: &[],
    needs: &[],
};

const NETDATA: DialectFacts = DialectFacts {
    table: "netdata",
    folder: "netdata",
    noun: "job",
    finder: Finder::Lister,
    isolation: &[is("job", Each::Told), is("module", Each::Told), is("input", Each::Told)],
    endings: &[".chart.py"],
    by_hand: &[],
    keys: &[
        key("dirs", KeyKind::Paths(&[".chart.py"]), None),
        key("conf", KeyKind::Paths(&[]), None),
        key("install", KeyKind::Text, None),
        key("modules", KeyKind::Texts, None),
        key("update_every", KeyKind::Number(1, 86_400), Some("1")),
        key("values", KeyKind::Word(&["shown", "raw", "both"]), Some("\"shown\"")),
        key("fractions", KeyKind::Flag, Some("true")),
        key("recheck", KeyKind::Duration, Some("60")),
    ],
    needs: &["dirs", "install"],
};

const COLLECTD: DialectFacts = DialectFacts {
    table: "collectd",
    folder: "collectd",
    noun: "plugin",
    finder: Finder::Lister,
    isolation: &[is("auto", Each::Told), is("import", Each::Told), is("block", Each::Told)],
    // Its plugins are plain Python files, which tell nothing by their names.
    endings: &[],
    by_hand: &[".py"],
    keys: &[
        key("config", KeyKind::Path(&[]), None),
        key("modules", KeyKind::Paths(&[".py"]), None),
        key("module", KeyKind::Table, None),
        key("types_db", KeyKind::Texts, None),
        key("hostname", KeyKind::Text, None),
        key("interval", KeyKind::Duration, None),
        key("mapping", KeyKind::Word(&["join", "split"]), Some("\"join\"")),
        key("store_rates", KeyKind::FlagOr(&["both"]), Some("false")),
        key("dimensions_from_plugin_instance", KeyKind::Flag, Some("true")),
        key("meta_tags", KeyKind::Texts, None),
        key("max_name", KeyKind::Number(0, 65_536), Some("127")),
    ],
    needs: &[],
};

const PANOPTES: DialectFacts = DialectFacts {
    table: "panoptes",
    folder: "panoptes",
    noun: "plugin",
    finder: Finder::Lister,
    isolation: &[is("plugin", Each::Told), is("input", Each::Told)],
    endings: &[".panoptes-plugin"],
    by_hand: &[".py"],
    keys: &[
        key("polling", KeyKind::Paths(&[".panoptes-plugin"]), None),
        key("discovery", KeyKind::Paths(&[".panoptes-plugin"]), None),
        key("enrichment", KeyKind::Paths(&[".panoptes-plugin"]), None),
        key("resources", KeyKind::Path(&[]), None),
        key("site", KeyKind::Text, Some("\"local\"")),
        key("sites", KeyKind::Texts, None),
        key("scan_interval", KeyKind::Scan, Some("60")),
        key("concurrency", KeyKind::Number(1, 1024), Some("16")),
        key("secrets", KeyKind::Secrets, None),
        key("resource_id_tag", KeyKind::Flag, Some("false")),
        key("snmp", KeyKind::Table, None),
        key("x509", KeyKind::Table, None),
    ],
    needs: &["polling", "discovery", "enrichment"],
};

#[cfg(debug_assertions)]
const TALLY: DialectFacts = DialectFacts {
    table: "tally",
    folder: "tally",
    noun: "unit",
    finder: Finder::Lister,
    isolation: &[is("unit", Each::Told), is("input", Each::Told)],
    endings: &[".tally", ".tally.py"],
    by_hand: &[],
    keys: &[key("files", KeyKind::Paths(&[".tally"]), None)],
    needs: &["files"],
};

impl Dialect {
    pub const ALL: &[Self] = &[
        Self::Datakit,
        Self::Netdata,
        Self::Collectd,
        Self::Panoptes,
        #[cfg(debug_assertions)]
        Self::Tally,
    ];

    pub fn facts(self) -> &'static DialectFacts {
        match self {
            Self::Datakit => &DATAKIT,
            Self::Netdata => &NETDATA,
            Self::Collectd => &COLLECTD,
            Self::Panoptes => &PANOPTES,
            #[cfg(debug_assertions)]
            Self::Tally => &TALLY,
        }
    }

    /// The dialect that a file is of, as far as its name tells.
    pub fn of_file(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let endings =
            Self::ALL.iter().flat_map(|dialect| dialect.facts().endings.iter().map(|ending| (*dialect, *ending)));
        let own = endings.filter(|(_, ending)| name.ends_with(ending));
        own.max_by_key(|(_, ending)| ending.len()).map(|(dialect, _)| dialect)
    }

    /// The one of `[[inputs.<table>]]`.
    pub fn of_table(table: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dialect| dialect.facts().table == table)
    }
}

impl DialectFacts {
    pub fn default_isolation(&self) -> Isolation {
        self.isolation[0].1
    }

    /// The stem of a file's name, if the file is one that `pythond run` can take for one of this dialect.
    pub fn stem_by_hand<'n>(&self, name: &'n str) -> Option<&'n str> {
        let lower = name.to_ascii_lowercase();
        let mut endings = self.endings.iter().chain(self.by_hand);
        let ending = endings.find(|ending| lower.len() == name.len() && lower.ends_with(**ending))?;
        Some(&name[..name.len() - ending.len()])
    }

    /// Its own keys as an input has them that gives none.
    pub fn default_settings(&self) -> serde_json::Value {
        let default = |key: &DialectKey| Some((key.name.to_owned(), key.default_value()?));
        serde_json::Value::Object(self.keys.iter().filter_map(default).collect())
    }

    /// The key that says how often what an input has read is looked at.
    pub fn scan(&self) -> Option<&'static DialectKey> {
        self.keys.iter().find(|key| matches!(key.kind, KeyKind::Scan))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn each_dialect_has_its_folder_and_each_folder_its_dialect() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("sdk-python");
        let mut folders = BTreeSet::new();
        let places = ["pythond/dialects", "tests/dialects"];
        // Release builds know nothing of the tests' own.
        for place in &places[..if cfg!(debug_assertions) { 2 } else { 1 }] {
            for entry in std::fs::read_dir(root.join(place)).unwrap().map(|entry| entry.unwrap()) {
                if entry.path().join("__init__.py").is_file() {
                    folders.insert(entry.file_name().into_string().unwrap());
                }
            }
        }
        let named: BTreeSet<String> = Dialect::ALL.iter().map(|dialect| dialect.facts().folder.to_owned()).collect();
        assert_eq!(named, folders);
    }

    #[test]
    fn facts_do_not_contradict_each_other() {
        let mut tables = BTreeSet::new();
        for facts in Dialect::ALL.iter().map(|dialect| dialect.facts()) {
            assert!(tables.insert(facts.table), "{}", facts.table);
            for name in facts.needs {
                assert!(facts.keys.iter().any(|key| key.name == *name), "{}: {name}", facts.table);
            }
            for key in facts.keys {
                if let Some(text) = key.default {
                    assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{}: {}", facts.table, key.name);
                }
            }
            let told = |isolation: &Isolation| isolation.each == Each::Told;
            let all_told = facts.isolation.iter().all(|(_, isolation)| told(isolation));
            assert!(facts.finder == Finder::Names || all_told, "{}", facts.table);
        }
    }

    #[test]
    fn the_longest_ending_tells_whose_a_file_is() {
        assert_eq!(Dialect::of_file("x.py"), Some(Dialect::Datakit));
        assert_eq!(Dialect::of_file("X.Chart.PY"), Some(Dialect::Netdata));
        assert_eq!(Dialect::of_file("x.txt"), None);
    }
}
