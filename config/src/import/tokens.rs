//! One line of a keepalived.conf in words and braces, and where its comment begins.

/// A word, or what opens and closes a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Open,
    Close,
}

/// The line without its comment, which begins with `#` or `!` anywhere outside of double quotes.
pub(super) fn without_comment(line: &str) -> &str {
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quoted = !quoted,
            '#' | '!' if !quoted => return line.get(..at).unwrap_or_default(),
            _ => {}
        }
    }
    line
}

/// The words of a line: quotes may be anywhere in them and are left out, a backslash escapes as in C. The braces of
/// `${NAME}` are part of the word.
///
/// # Errors
/// When a quote is not closed: which one.
pub(super) fn tokens(line: &str) -> Result<Vec<Token>, char> {
    scan(line, true)
}

/// The words of a command, which is a word itself: Keepalived takes its quotes and escapes apart once more, and braces
/// mean nothing in it.
///
/// # Errors
/// As [`tokens`].
pub(super) fn words(command: &str) -> Result<Vec<String>, char> {
    let words = scan(command, false)?.into_iter().filter_map(|token| match token {
        Token::Word(word) => Some(word),
        Token::Open | Token::Close => None,
    });
    Ok(words.collect())
}

fn scan(line: &str, with_braces: bool) -> Result<Vec<Token>, char> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (_, '\\') => {
                let text = word.get_or_insert_default();
                if let Some(c) = escape(&mut chars) {
                    text.push(c);
                }
            }
            (Some(end), c) if c == end => quote = None,
            (None, '"' | '\'') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (None, '$') if with_braces && chars.peek() == Some(&'{') => {
                let text = word.get_or_insert_default();
                text.push(c);
                for c in chars.by_ref() {
                    text.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            (None, '{' | '}') if with_braces => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if c == '{' { Token::Open } else { Token::Close });
            }
            (None, c) if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.take().map(Token::Word));
    quote.map_or(Ok(tokens), Err)
}

/// What stands behind a backslash. `None` for a number that is no character.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let c = chars.next()?;
    let mut number = |radix: u32, longest: usize, mut value: u32| {
        for _ in 0..longest {
            let Some(digit) = chars.peek().and_then(|c| c.to_digit(radix)) else { break };
            value = value.saturating_mul(radix).saturating_add(digit);
            chars.next();
        }
        char::from_u32(value)
    };
    match c {
        'a' => Some('\x07'),
        'b' => Some('\x08'),
        'E' => Some('\x1b'),
        'f' => Some('\x0c'),
        'n' => Some('\n'),
        'r' => Some('\r'),
        't' => Some('\t'),
        'v' => Some('\x0b'),
        'x' => number(16, usize::MAX, 0),
        '0'..='7' => number(8, 2, c.to_digit(8)?),
        c => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> Vec<String> {
        let shown = |token| match token {
            Token::Word(word) => word,
            Token::Open => "<".to_owned(),
            Token::Close => ">".to_owned(),
        };
        tokens(line).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn comments() {
        for (line, rest) in [
            ("a # b", "a "),
            ("a!b", "a"),
            ("script \"echo #1!\" # c", "script \"echo #1!\" "),
            ("a \\# b", "a \\# b"),
            ("# a", ""),
            ("", ""),
        ] {
            assert_eq!(without_comment(line), rest, "{line}");
        }
    }

    #[test]
    fn quotes_and_braces() {
        assert_eq!(shown("abcd\" efg h jkl \"mnop"), ["abcd efg h jkl mnop"]);
        assert_eq!(shown("script \"curl 'a b'\""), ["script", "curl 'a b'"]);
        assert_eq!(shown("script 'awk {x}'"), ["script", "awk {x}"]);
        assert_eq!(shown("unicast_peer{10.0.0.2}"), ["unicast_peer", "<", "10.0.0.2", ">"]);
        assert_eq!(shown("a ${B}c { }"), ["a", "${B}c", "<", ">"]);
        assert_eq!(shown("a \"\""), ["a", ""]);
        assert_eq!(shown(r#"\" \x41\x0 \101 \c"#), ["\"", "A\0", "A", "c"]);
        assert_eq!(shown("${never closed {"), ["${never closed {"]);
        assert_eq!(tokens("script \"open"), Err('"'));
        assert_eq!(tokens("it's"), Err('\''));
    }

    #[test]
    fn a_command_within_a_word() {
        assert_eq!(words("/x 'a b' {c} ${D").unwrap(), ["/x", "a b", "{c}", "${D"]);
        assert_eq!(words(r#"/x \"a\" "" \x41"#).unwrap(), ["/x", "\"a\"", "", "A"]);
        assert_eq!(words(" ").unwrap(), Vec::<String>::new());
        assert_eq!(words("/x 'a"), Err('\''));
    }
}
