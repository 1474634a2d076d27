//! Handing passwords over: a file for each, which only its owner can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::PathBuf,
};

use calgrant_domain::{Address, Password};

use crate::HandOverError;

/// A folder that passwords are written into, a file for each account, called as the account is.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder at `path`. It must be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Writes an account's password: the file is the old one or the new one, never half of it, and is on disk when this returns.
    ///
    /// # Errors
    /// It can't be written: says where.
    pub fn hand_over(&self, account: &Address, password: &Password) -> Result<(), HandOverError> {
        self.write(account, password).map_err(|cause| {
            let folder = self.path.display();
            let why = format!(
                "{folder} can't be written into: {cause}. Make the folder, and let this process write there"
            );
            HandOverError::new(account, why)
        })
    }

    fn write(&self, account: &Address, password: &Password) -> io::Result<()> {
        // Some characters of addresses mean something in a path.
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | '.' | '-' | '_');
        let name = account.as_str().replace(|c: char| !plain(c), "_");
        let unfinished = self.path.join(format!(".{name}.new"));
        // What a process that died left there.
        match fs::remove_file(&unfinished) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(password.reveal().as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, self.path.join(name))?;
        File::open(&self.path)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_in_a_file_that_others_cannot_read() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path());
        let account: Address = "sa-1@uni.example".parse().unwrap();
        fs::write(place.path().join(".sa-1@uni.example.new"), "half").unwrap();
        for password in ["one", "two"] {
            folder
                .hand_over(&account, &Password::new(password))
                .unwrap();
            let file = place.path().join("sa-1@uni.example");
            assert_eq!(fs::read_to_string(&file).unwrap(), password);
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                assert_eq!(
                    fs::metadata(&file).unwrap().permissions().mode() & 0o777,
                    0o600
                );
            }
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_error_names_the_folder_and_not_the_password() {
        let folder = Folder::new("/nowhere/at/all");
        let account: Address = "sa-1@uni.example".parse().unwrap();
        let refused = folder
            .hand_over(&account, &Password::new("hunter2"))
            .unwrap_err();
        let shown = format!("{refused} {refused:?}");
        assert!(shown.contains("/nowhere/at/all") && !shown.contains("hunter2"));
    }
}
