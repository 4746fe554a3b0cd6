//! How wide text is, at most, in the fonts that the picture asks for; and names that fit.

/// What takes the place of a character that must not stand in the picture.
const REPLACEMENT: char = '\u{fffd}';

/// What a text that is cut ends with.
const ELLIPSIS: char = '…';

/// A font.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Font {
    /// For names: every character has the same width.
    Mono,
    /// For all else.
    Sans,
    /// For what matters of that.
    Bold,
}

/// The width of `text` in `font` at `size` pixels, rounded up. Wide enough for DejaVu, whose characters are wider
/// than those of the other fonts that the picture asks for.
pub fn width(text: &str, font: Font, size: i32) -> i32 {
    let permille: i32 = text.chars().map(|letter| permille(letter, font)).sum();
    (permille * size + 999) / 1000
}

/// The width of `letter` in thousandths of the size.
fn permille(letter: char, font: Font) -> i32 {
    match (font, letter) {
        (Font::Bold, _) => permille(letter, Font::Sans) * 9 / 8,
        (_, REPLACEMENT) => 1030,
        (Font::Mono, '!'..='~' | ' ' | 'é' | ELLIPSIS | '·' | '×') => 603,
        (Font::Sans, 'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | '·' | '!') => 340,
        (Font::Sans, 'f' | 'r' | 't' | '(' | ')' | '[' | ']' | '/' | '-') => 415,
        (Font::Sans, 'm' | 'w' | 'M' | 'W' | '%' | '@' | ELLIPSIS) => 1000,
        (Font::Sans, 'A'..='Z' | '+' | '<' | '>' | '=' | '~' | '#' | '&' | '×') => 840,
        (Font::Sans, '"'..='z') => 640,
        // Of other scripts, the widest.
        _ => 1300,
    }
}

/// `text` without what XML 1.0 cannot say (section 2.2) or what changes how the rest is shown: control characters
/// and those that turn the direction of writing.
pub fn clean(text: &str) -> String {
    let hidden = |letter: char| {
        letter.is_control()
            || matches!(
                letter,
                '\u{ad}' | '\u{61c}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{fff9}'..='\u{fffb}'
            )
            || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
    };
    text.chars().map(|letter| if hidden(letter) { REPLACEMENT } else { letter }).collect()
}

/// `text`, cut where it is wider than `most`; empty if nothing of it fits.
pub fn fit(text: &str, font: Font, size: i32, most: i32) -> String {
    let text = clean(text);
    if width(&text, font, size) <= most {
        return text;
    }
    let end = permille(ELLIPSIS, font);
    let mut used = end;
    let mut cut: String = text
        .chars()
        .take_while(|&letter| {
            used += permille(letter, font);
            used * size <= most * 1000
        })
        .collect();
    if end * size <= most * 1000 {
        cut.push(ELLIPSIS);
    }
    cut
}

/// `text` in lines of at most `most`, broken between words; a word that is longer is cut.
pub fn wrap(text: &str, font: Font, size: i32, most: i32) -> Vec<String> {
    let mut lines: Vec<String> = vec![];
    for word in clean(text).split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (lines.last_mut(), longer) {
            (Some(last), Some(longer)) if width(&longer, font, size) <= most => *last = longer,
            _ => lines.push(fit(word, font, size, most)),
        }
    }
    lines
}

/// A size for people: 0x20_0000 is 2 MiB.
pub fn bytes(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.into_iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{} {unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_said_in_the_largest_unit_that_is_exact() {
        let said = [0, 100, 0x1000, 0x20_0000, 0x20_1000, 1 << 40].map(bytes);
        assert_eq!(said, ["0 bytes", "100 bytes", "4 KiB", "2 MiB", "2052 KiB", "1024 GiB"]);
    }

    #[test]
    fn lines_break_between_words() {
        let most = width("some words", Font::Sans, 12);
        assert_eq!(wrap("some words more", Font::Sans, 12, most), ["some words", "more"]);
        assert_eq!(wrap("abc", Font::Mono, 10, 15), ["a…"]);
    }

    #[test]
    fn what_would_steer_the_reader_is_replaced() {
        assert_eq!(clean("a\u{0}b\nc\u{202e}d\u{ffff}<&"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}<&");
    }

    proptest! {
        #[test]
        fn what_is_cut_fits(text in "\\PC{0,60}", most in 0..300i32, size in 8..20i32) {
            for font in [Font::Mono, Font::Sans, Font::Bold] {
                let cut = fit(&text, font, size, most);
                prop_assert!(width(&cut, font, size) <= most, "{cut}");
            }
        }
    }
}
