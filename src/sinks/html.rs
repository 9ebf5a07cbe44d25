//! Reads the page with which a proxy or another web server answers, as far as a person needs it in a log line.

/// Says whether a body is a page for a browser, whatever its content type says.
pub(super) fn is_page(body: &str) -> bool {
    let start: String = body.trim_start().chars().take(9).collect::<String>().to_ascii_lowercase();
    ["<!doctype", "<html", "<head", "<body", "<?xml"].iter().any(|tag| start.starts_with(tag))
}

/// Its title; without one its text, with one space for each break.
pub(super) fn text(body: &str) -> String {
    let title = element(body, "title").map(without_tags).filter(|title| !title.is_empty());
    title.unwrap_or_else(|| {
        let visible = ["script", "style"].iter().fold(body.to_owned(), |body, name| without_element(&body, name));
        without_tags(&visible)
    })
}

/// What stands between the tags of the first element with this name.
fn element<'a>(body: &'a str, name: &str) -> Option<&'a str> {
    let (start, end) = bounds(body, name)?;
    let inside = &body[start..end];
    Some(&inside[inside.find('>')? + 1..])
}

fn without_element(body: &str, name: &str) -> String {
    let mut rest = body.to_owned();
    while let Some((start, end)) = bounds(&rest, name) {
        rest.replace_range(start..end, "");
    }
    rest
}

/// From the opening tag of the first element to its closing one, or to the end where that is missing.
fn bounds(body: &str, name: &str) -> Option<(usize, usize)> {
    // ASCII letters keep their places.
    let lower = body.to_ascii_lowercase();
    let start = lower.find(&format!("<{name}"))?;
    let end = lower[start..].find(&format!("</{name}")).map_or(body.len(), |end| start + end);
    Some((start, end))
}

fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut is_inside = false;
    for c in html.chars() {
        match c {
            '<' => is_inside = true,
            '>' if is_inside => {
                is_inside = false;
                text.push(' ');
            }
            _ if !is_inside => text.push(c),
            _ => {}
        }
    }
    let named = [("&nbsp;", " "), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    let text = named.iter().fold(text, |text, (name, c)| text.replace(name, c));
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_its_title_or_its_text() {
        let nginx = "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502</h1></body></html>";
        assert!(is_page(nginx) && is_page("  <!DOCTYPE html>") && is_page("<?xml version='1.0'?>"));
        assert!(!is_page("m,a=<html> v=1") && !is_page("{}") && !is_page(""));
        assert_eq!(text(nginx), "502 Bad Gateway");
        assert_eq!(
            text("<html>please <b>log&nbsp;in</b><script>var a = '<b>';</script> now</html>"),
            "please log in now"
        );
        assert_eq!(text("<HTML><STYLE>p{}</STYLE><Title></Title><p>A &amp; B"), "A & B");
        assert_eq!(text("<html"), "");
        assert_eq!(text("<title>é"), "é");
    }
}
