//! What the files say of who reaches a bucket, and where it is: `~/.aws/credentials` and `~/.aws/config`.

use configparser::ini::Ini;
use std::path::PathBuf;

/// One profile of the files; what is empty is not told.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Key and secret.
    pub key: Option<(String, String)>,
    /// Token of a session.
    pub token: Option<String>,
    pub region: Option<String>,
    pub endpoint: Option<String>,
}

impl Profile {
    /// The one that `AWS_PROFILE` names, or the default one. A file that is not there, or that nobody can read, tells
    /// nothing; one that is no such file is an error.
    pub fn load() -> Result<Profile, String> {
        let file = |variable: &str, name: &str| -> Result<Ini, String> {
            let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".aws").join(name));
            let path = std::env::var_os(variable).map(PathBuf::from).or_else(home);
            let text = path.as_ref().and_then(|path| std::fs::read_to_string(path).ok());
            let (mut ini, shown) = (Ini::new(), path.unwrap_or_default());
            let read = ini.read(text.unwrap_or_default());
            read.map_err(|why| format!("{}: {why}", shown.display()))?;
            Ok(ini)
        };
        let name = std::env::var("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        Ok(Profile::of(
            &file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?,
            &file("AWS_CONFIG_FILE", "config")?,
            name.as_deref().unwrap_or("default"),
        ))
    }

    fn of(credentials: &Ini, config: &Ini, name: &str) -> Profile {
        let section = match name {
            "default" => name.to_owned(),
            name => format!("profile {name}"),
        };
        let secret = |key: &str| credentials.get(name, key).or_else(|| config.get(&section, key));
        let told = |key: &str| config.get(&section, key);
        Profile {
            key: secret("aws_access_key_id").zip(secret("aws_secret_access_key")),
            token: secret("aws_session_token"),
            region: told("region"),
            endpoint: told("endpoint_url"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ini(text: &str) -> Ini {
        let mut ini = Ini::new();
        ini.read(text.into()).unwrap();
        ini
    }

    #[test]
    fn profiles_are_found_by_name() {
        let credentials = ini(
            "[default]\naws_access_key_id = A\naws_secret_access_key = s/e+c=\n\
             [far]\naws_access_key_id=B\naws_secret_access_key=t\naws_session_token=u\n",
        );
        let config = ini(
            "# Where.\n[default]\nregion = here\n[profile far]\nregion = there\nendpoint_url = http://127.0.0.1:9\n",
        );
        let pair = |key: &str, secret: &str| Some((key.to_owned(), secret.to_owned()));
        let usual = Profile::of(&credentials, &config, "default");
        assert_eq!(usual.key, pair("A", "s/e+c="));
        assert_eq!((usual.region.as_deref(), usual.endpoint), (Some("here"), None));
        let far = Profile::of(&credentials, &config, "far");
        assert_eq!((far.key, far.token.as_deref()), (pair("B", "t"), Some("u")));
        assert_eq!(far.endpoint.as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(Profile::of(&credentials, &config, "absent"), Profile::default());
    }
}
