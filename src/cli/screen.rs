//! What fits on a terminal: what scripts have written is cut to its width, so that a long line does not push the rest off the screen.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::output::say;

/// Lines that a sentence may take in which a script has a word, such as the text of an exception.
const LINES_OF_A_SENTENCE: usize = 3;

/// The columns of the terminal; `None` where standard output is a file or a pipe, which get everything.
pub(super) fn width() -> Option<usize> {
    let (columns, _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(columns.0)).filter(|columns| *columns > 0)
}

/// Empties the screen, for what is shown again and again.
pub(super) fn clear() {
    say("\x1b[H\x1b[2J");
}

/// A line that is indented by so many columns, as far as it fits.
pub(super) fn line(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    cut(text, width.saturating_sub(indent).max(1))
}

/// A sentence that is indented by so many columns; a very long one is cut.
pub(super) fn sentence(text: &str, indent: usize, width: Option<usize>) -> String {
    let Some(width) = width else { return text.to_owned() };
    let room = (width * LINES_OF_A_SENTENCE).saturating_sub(indent).max(1);
    text.lines().map(|line| cut(line, room)).collect::<Vec<_>>().join("\n")
}

fn cut(text: &str, room: usize) -> String {
    let text = harmless(text);
    if text.width() <= room {
        return text;
    }
    let mut taken = 0;
    let fits = |letter: &char| {
        taken += letter.width().unwrap_or(0);
        taken < room
    };
    let mut short: String = text.chars().take_while(fits).collect();
    short.push('…');
    short
}

/// A control character would move the cursor, or colour all that follows.
fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' => shown.push_str("    "),
            letter if letter.is_control() => shown.extend(letter.escape_default()),
            letter => shown.push(letter),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_the_width_and_a_pipe_gets_it_whole() {
        let long = "x".repeat(10_000);
        assert_eq!(line(&long, 4, None), long);
        let short = line(&long, 4, Some(80));
        assert_eq!((short.width(), short.ends_with("x…")), (76, true));
        assert_eq!(line("just fits", 0, Some(9)), "just fits");
        assert_eq!(line("too long", 0, Some(4)), "too…");
        assert_eq!(line("too long", 9, Some(4)), "…");
    }

    #[test]
    fn wide_letters_take_two_columns_and_control_characters_move_nothing() {
        assert_eq!(line("指标采集", 0, Some(8)), "指标采集");
        assert_eq!(line("指标采集器", 0, Some(8)), "指标采…");
        assert_eq!(line("a\tb\u{1b}[31mred", 0, Some(80)), "a    b\\u{1b}[31mred");
    }

    #[test]
    fn a_sentence_has_three_lines() {
        assert_eq!(sentence(&"x".repeat(500), 10, Some(80)).width(), 230);
        assert_eq!(sentence(&"x".repeat(500), 10, None).width(), 500);
    }
}
