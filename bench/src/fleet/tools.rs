//! The tools that bring a site from one release to the next, each as what its farm and its site would run.
//!
//! Scripts find in their environment: `OLD` and `NEW`, the releases; `FARM`, a folder that is not served; `WWW`,
//! the served one, at the site `URL`; `RSYNC`, the rsync module of the new release; `SITE`, the site's folder;
//! `ELFUP`, our program; `PLAN`, options that tell it of a link that is not there. Everything is compressed on one thread.

/// One tool.
pub struct Tool {
    /// Name in tables.
    pub name: &'static str,
    /// What it does, with its settings.
    pub about: &'static str,
    /// Programs that it needs, and their Debian packages where the names differ.
    pub needs: &'static [(&'static str, &'static str)],
    /// Whether it is ours: run over the bad link whatever it takes.
    pub ours: bool,
    /// Says which build of the tool it is; when that changes, `make` is run again.
    pub version: &'static str,
    /// Farm, not measured: what was there before the new release came.
    pub before: &'static str,
    /// Farm: what the new release takes.
    pub make: &'static str,
    /// Site, not measured: the old release.
    pub ready: &'static str,
    /// Site: from the old release to the new one.
    pub pull: &'static str,
    /// Fails unless the site has what it should.
    pub check: &'static str,
}

const COPY: &str = r#"cp -a "$OLD" "$SITE/old""#;
const SAME: &str = r#"diff -r --no-dereference "$NEW" "$SITE/new" >&2"#;

/// Ours first.
pub const TOOLS: [Tool; 7] = [
    Tool {
        name: "elfup",
        about: "this project",
        needs: &[],
        ours: true,
        version: r#"sha256sum < "$ELFUP""#,
        before: r#"
            "$ELFUP" -q keys init "$FARM/keys"
            "$ELFUP" -q repo init "$WWW/repo" --keys "$FARM/keys"
            "$ELFUP" -q publish --repo "$WWW/repo" --keys "$FARM/keys" --product site --release old "$OLD""#,
        make: r#"
            "$ELFUP" -q publish --repo "$WWW/repo" --keys "$FARM/keys" --product site --release new "$NEW""#,
        ready: r#"
            "$ELFUP" -q site --site "$SITE/site" init --product site \
                --source "$WWW/repo" --root "$WWW/repo/tuf/1.root.json"
            "$ELFUP" -q site --site "$SITE/site" downgrade old
            sed -i "s|\"$WWW/repo\"|\"$URL/repo\"|" "$SITE/site/site.json""#,
        pull: r#""$ELFUP" -q site --site "$SITE/site" update $PLAN --json > "$SITE/updated.json""#,
        check: r#"
            grep -q "$URL/repo" "$SITE/site/site.json"
            diff -r --no-dereference "$NEW" "$SITE/site/current/." >&2
            "$ELFUP" -q site --site "$SITE/site" verify"#,
    },
    Tool {
        name: "zstd --patch-from",
        about: "tarballs of both releases, zstd --ultra -22 --long=31 --patch-from",
        needs: &[("zstd", "zstd"), ("curl", "curl")],
        ours: false,
        version: "zstd --version",
        before: TAR_OLD,
        make: r#"
            tar -C "$NEW" $TAR -cf "$FARM/new.tar" .
            zstd -q -f -T1 --ultra -22 --long=31 --patch-from="$FARM/old.tar" "$FARM/new.tar" -o "$WWW/patch.zst""#,
        ready: COPY,
        pull: r#"
            tar -C "$SITE/old" $TAR -cf "$SITE/old.tar" .
            curl -sSf "$URL/patch.zst" -o "$SITE/patch.zst"
            zstd -q -d --long=31 --patch-from="$SITE/old.tar" "$SITE/patch.zst" -o "$SITE/new.tar"
            mkdir "$SITE/new"
            tar -C "$SITE/new" --xattrs --xattrs-include='*' -xpf "$SITE/new.tar"
            rm "$SITE/old.tar" "$SITE/new.tar" "$SITE/patch.zst""#,
        check: SAME,
    },
    Tool {
        name: "ostree",
        about: "OSTree static delta in one file, fetched and applied with apply-offline",
        needs: &[("ostree", "ostree"), ("curl", "curl")],
        ours: false,
        version: "ostree --version",
        before: r#"
            ostree --repo="$FARM/repo" init --mode=archive
            ostree --repo="$FARM/repo" commit -b site --tree=dir="$OLD" > "$FARM/from""#,
        make: r#"
            ostree --repo="$FARM/repo" commit -b site --tree=dir="$NEW" > "$FARM/to"
            ostree --repo="$FARM/repo" static-delta generate --inline --min-fallback-size=0 --filename="$WWW/delta" \
                --from="$(cat "$FARM/from")" --to="$(cat "$FARM/to")" >&2"#,
        ready: r#"
            from=$(cat "$FARM/from")
            ostree --repo="$SITE/repo" init --mode=bare
            ostree --repo="$SITE/repo" pull-local "$FARM/repo" "$from" >&2
            ostree --repo="$SITE/repo" checkout -H "$from" "$SITE/old""#,
        pull: r#"
            curl -sSf "$URL/delta" -o "$SITE/delta"
            ostree --repo="$SITE/repo" static-delta apply-offline "$SITE/delta" >&2
            rm "$SITE/delta"
            ostree --repo="$SITE/repo" checkout -H "$(cat "$FARM/to")" "$SITE/new""#,
        check: SAME,
    },
    Tool {
        name: "whole files",
        about: "each new content alone, zstd -19, over one connection",
        needs: &[("zstd", "zstd"), ("curl", "curl")],
        ours: false,
        version: "zstd --version",
        before: "",
        make: r#"
            list() { (cd "$1"; find . -type f -print0 | xargs -0 sha256sum) | sort -u -k1,1; }
            list "$OLD" > "$FARM/have"
            list "$NEW" | awk 'NR == FNR { have[$1]; next } !($1 in have)' "$FARM/have" - > "$FARM/list"
            zstd -q -19 -c "$FARM/list" > "$WWW/list.zst"
            while read -r digest path; do zstd -q -19 -T1 -c "$NEW/$path" > "$WWW/$digest.zst"; done < "$FARM/list""#,
        ready: r#"mkdir -p "$SITE/in""#,
        pull: r#"
            cd "$SITE/in"
            curl -sSf "$URL/list.zst" | zstd -q -dc > ../list
            while read -r digest path; do
                printf 'url = "%s/%s.zst"\noutput = "%s.zst"\n' "$URL" "$digest" "$digest"
            done < ../list > ../urls
            curl -sSf -K ../urls
            zstd -q -d --rm *.zst"#,
        check: r#"
            cd "$SITE/in"
            test -s "$FARM/list"
            while read -r digest path; do echo "$digest  $digest"; done < "$FARM/list" | sha256sum -c --quiet >&2"#,
    },
    Tool {
        name: "rsync -z",
        about: "rsync -aHAXS -z --checksum, the old release as --link-dest",
        needs: &[("rsync", "rsync")],
        ours: false,
        version: "rsync --version | sed -n 1p",
        before: "",
        make: "",
        ready: COPY,
        pull: r#"rsync -aHAXS --numeric-ids -z --checksum --link-dest="$SITE/old" "$RSYNC/" "$SITE/new/""#,
        check: SAME,
    },
    Tool {
        name: "zstd -19 tarball",
        about: "the new release as a tarball, zstd -19",
        needs: &[("zstd", "zstd"), ("curl", "curl")],
        ours: false,
        version: "zstd --version",
        before: "",
        make: r#"tar -C "$NEW" $TAR -cf - . | zstd -q -19 -T1 > "$WWW/new.tar.zst""#,
        ready: r#"mkdir -p "$SITE/new""#,
        pull: r#"
            curl -sSf "$URL/new.tar.zst" | zstd -q -dc |
                tar -C "$SITE/new" --xattrs --xattrs-include='*' -xpf -"#,
        check: SAME,
    },
    Tool {
        name: "casync",
        about: "casync, chunks of its default size, the old release as seed",
        needs: &[("casync", "casync")],
        ours: false,
        version: "casync --version",
        before: "",
        make: r#"casync make --with=unix --store="$WWW/store.castr" "$WWW/new.caidx" "$NEW" >&2"#,
        ready: COPY,
        pull: r#"
            casync extract --with=unix --store="$URL/store.castr" --seed="$SITE/old" "$URL/new.caidx" "$SITE/new""#,
        check: SAME,
    },
];

const TAR_OLD: &str = r#"tar -C "$OLD" $TAR -cf "$FARM/old.tar" ."#;

/// `TAR` in the scripts: a tarball that depends on the tree alone.
pub const TAR: &str = "--sort=name --mtime=@0 --numeric-owner --sparse --sparse-version=0.0 --xattrs --xattrs-include=* \
                       --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime";
