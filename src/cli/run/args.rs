//! What `run` is told on its command line.

use std::path::PathBuf;
use std::time::Duration;

use crate::dialect::Dialect;
use crate::quantity;

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// A file, a folder of scripts, or the name of a configured unit, also with a part of it (`my.script:Class`,
    /// `netdata.memcached:tcp`)
    pub target: String,
    /// `debug`, `trace`, `nolock`: words with which netdata's guides end
    #[arg(hide = true)]
    pub words: Vec<String>,
    /// Whose file it is, where its name does not tell: pythond, netdata, collectd or panoptes
    #[arg(long, value_name = "NAME", value_parser = dialect)]
    pub dialect: Option<Dialect>,
    /// Run only this job, or only the jobs of this unit; may be given several times
    #[arg(long, value_name = "KEY")]
    pub job: Vec<String>,
    /// Run each job this many times [default: 1, or 2 where one reading says little]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub times: Option<u32>,
    /// netdata: run a job with these settings in place of those in its file
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = pair)]
    pub set: Vec<(String, serde_json::Value)>,
    /// netdata: print what netdata's plugin would print, and nothing else on stdout
    #[arg(long, conflicts_with_all = ["json", "lp", "send"])]
    pub protocol: bool,
    /// collectd: the collectd.conf that configures the plugin
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Panoptes: run against this resource only
    #[arg(long, value_name = "ID")]
    pub resource: Option<String>,
    /// Panoptes: a JSON file of resources
    #[arg(long, value_name = "FILE")]
    pub resources: Option<PathBuf>,
    /// Print the points as line protocol and nothing else on stdout
    #[arg(long, conflicts_with = "json")]
    pub lp: bool,
    /// Print everything as one JSON object
    #[arg(long)]
    pub json: bool,
    /// Send the accepted points to the running agent too
    #[arg(long)]
    pub send: bool,
    /// Give up on the script after this time
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// The interpreter, where no settings name one
    #[arg(long, value_name = "CMD", default_value = "python3")]
    pub python: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    quantity::duration(text).ok_or_else(|| format!("it must be {}", quantity::A_DURATION))
}

fn dialect(text: &str) -> Result<Dialect, String> {
    let known = || Dialect::ALL.iter().map(|dialect| dialect.facts().table).collect::<Vec<_>>().join(", ");
    Dialect::of_table(text).ok_or_else(|| format!("it must be one of {}", known()))
}

/// A value is what it is in JSON, else text: numbers stay numbers.
fn pair(text: &str) -> Result<(String, serde_json::Value), String> {
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((key.to_owned(), value))
}
