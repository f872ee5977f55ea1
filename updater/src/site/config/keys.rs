//! What people are told of each key of `site.toml`, in the order in which the file has them.

use crate::commented::Key;

/// Stands above the keys.
pub const HEAD: &str = "\
The configuration of this site, for people: change it with an editor, every command reads it anew.
A key behind `#` has the value that is shown, or none where it says so. Sizes are in bytes.
site.json beside it says the same for programs. What a program changes there is set here by the next
command; if both were changed, this file is what counts.";

const fn key(name: &'static str, about: &'static str, example: &'static str) -> Key {
    Key { name, about, example }
}

/// All keys.
pub const KEYS: [Key; 20] = [
    key(
        "follow",
        "What the site follows. It was chosen by `site init`: leave it, and make another site for something else.",
        "",
    ),
    key(
        "sources",
        "Where releases come from: addresses or folders, in order of preference.\nA user and a password may stand before a host; this file is readable by its owner alone.",
        "",
    ),
    key(
        "nearby",
        "Look for a box near by before each run, by multicast DNS, and ask it first.",
        "false",
    ),
    key(
        "objective",
        "What a plan makes small: \"time\" (seconds until the update is ready) or \"bytes\" (over the network).",
        "",
    ),
    key(
        "memory",
        "Most memory that rebuilding one file may take; ways that need more are passed over.",
        "",
    ),
    key("reserve", "Bytes of disk that stay free.", ""),
    key(
        "keep",
        "How many old deployments are kept whole, beside the one that runs.",
        "",
    ),
    key(
        "keep_reverse",
        "Keep a reverse delta as the way back instead of a whole old deployment; then keep = 0.",
        "",
    ),
    key(
        "health",
        "A command that says whether a new release works: program and arguments, run without a shell,\nwith ELFUP_TREE set to the new tree, and the seconds after which it has failed. Without it none is asked.",
        "{ command = [\"/usr/local/bin/check\"], timeout = 60 }",
    ),
    key(
        "budget",
        "Most bytes that web servers may send a day (UTC). Without it there is no bound.",
        "52428800",
    ),
    key(
        "hours",
        "Hours (UTC) in which releases are fetched from web servers, FROM-TO; urgent ones are at any.\nWithout it they are fetched at any.",
        "\"22-6\"",
    ),
    key(
        "stall",
        "Seconds without an answer after which a source is given up.",
        "",
    ),
    key(
        "least_rate",
        "Bytes per second that a source must bring at least.",
        "",
    ),
    key(
        "ca",
        "Certificate authorities for https instead of the system's: a PEM file, by absolute path.",
        "\"/etc/elfup/ca.pem\"",
    ),
    key(
        "header_file",
        "Headers for private repositories, `Name: value` a line; a file that its owner alone can read.",
        "\"/etc/elfup/headers\"",
    ),
    key(
        "netrc",
        "Users and passwords by host, in the format of .netrc; a file that its owner alone can read.",
        "\"/etc/elfup/netrc\"",
    ),
    key(
        "seeds",
        "Directories whose files may serve as bases or copies, such as an older installation.",
        "",
    ),
    key(
        "unprivileged",
        "Without root: record what cannot be set (owners, capabilities) instead of failing.",
        "",
    ),
    key(
        "fixed",
        "Absolute path where the running tree is, on the same filesystem, instead of behind `current`.\nIt was chosen by `site init`: leave it while something is deployed.",
        "\"/opt/app\"",
    ),
    key("protocol", "Version of the protocol; leave it.", ""),
];
