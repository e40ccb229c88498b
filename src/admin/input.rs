//! What a command is handed: a file, or the standard input.

use std::io::Read;
use std::path::Path;

use crate::mail::Message;

use super::answer::CommandError;

/// Reads a whole message from a file, or from the standard input for `-`.
pub fn read_message(path: &Path, input: &mut impl Read) -> Result<Message, CommandError> {
    if path != Path::new("-") {
        let octets = std::fs::read(path).map_err(|error| CommandError::file(path, error))?;
        return Ok(Message::of_file(octets));
    }
    let mut octets = Vec::new();
    input.read_to_end(&mut octets)?;
    Ok(Message::of_file(octets))
}

/// Reads a text from a file, or from the standard input for `-`.
pub fn read_text(path: &Path, input: &mut impl Read) -> Result<String, CommandError> {
    let read = if path == Path::new("-") {
        let mut text = String::new();
        input.read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| CommandError::file(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_is_the_standard_input() {
        let message = read_message(Path::new("-"), &mut &b"Subject: x\n\nhi\n"[..]).unwrap();
        assert_eq!(message.body_octets(), b"hi\r\n");
        let missing = read_message(Path::new("/nowhere/x.eml"), &mut std::io::empty());
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .starts_with("/nowhere/x.eml: ")
        );
    }
}
