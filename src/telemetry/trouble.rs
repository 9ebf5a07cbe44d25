//! A trouble that lasts: said when it begins and when it is over, and counted in between. A full disk must not fill the log as well.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// So long it has to go well before a trouble is over: on a disk that is nearly full small things fit and large ones do not.
const OVER_AFTER: Duration = Duration::from_secs(5);

/// What goes wrong again and again, or does not.
#[derive(Debug, Default)]
pub struct RepeatedTrouble {
    lasting: Option<Lasting>,
}

/// One that lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    pub since: Timestamp,
    pub times: u64,
    /// The last time's reason.
    pub why: String,
    last: Instant,
}

impl RepeatedTrouble {
    /// Notes that it went wrong; says whether that is news.
    pub fn happens(&mut self, why: &str, now: Instant) -> bool {
        let lasting = self.lasting.get_or_insert_with(|| Lasting {
            since: Timestamp::now(),
            times: 0,
            why: String::new(),
            last: now,
        });
        let is_news = lasting.times == 0;
        lasting.times += 1;
        lasting.last = now;
        if lasting.why != why {
            why.clone_into(&mut lasting.why);
        }
        is_news
    }

    /// Notes that it went well; returns the trouble that is over by that.
    pub fn goes_well(&mut self, now: Instant) -> Option<Lasting> {
        self.lasting.take_if(|lasting| now.saturating_duration_since(lasting.last) >= OVER_AFTER)
    }

    pub fn lasting(&self) -> Option<&Lasting> {
        self.lasting.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_news_once_and_is_over_once_when_it_went_well_for_a_while() {
        let mut trouble = RepeatedTrouble::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(trouble.goes_well(at(0)), None);
        assert!(trouble.happens("no space", at(1)));
        assert!(!trouble.happens("no space", at(2)) && !trouble.happens("no inode", at(9)));
        assert_eq!(trouble.goes_well(at(10)), None, "it may come again");
        let told = trouble.lasting().map(|lasting| (lasting.times, lasting.why.clone()));
        assert_eq!(told, Some((3, "no inode".to_owned())));
        assert_eq!(trouble.goes_well(at(14)).map(|over| over.times), Some(3));
        assert_eq!((trouble.goes_well(at(15)), trouble.lasting()), (None, None));
        assert!(trouble.happens("no space", at(16)));
    }
}
