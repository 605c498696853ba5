//! Dates in the forms that headers and lock files use, as milliseconds since 1970.

/// RFC 3339, such as `2026-01-01T00:00:30Z`, with any offset and fraction.
pub(crate) fn rfc3339_ms(text: &str) -> Option<f64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let day = days_from_civil(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    if !text.get(10..11)?.eq_ignore_ascii_case("t") && text.get(10..11)? != " " {
        return None;
    }
    let seconds = number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or("", |rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    });
    let fraction = if digits.is_empty() {
        0.0
    } else {
        format!("0.{digits}").parse().ok()?
    };
    let zone = if digits.is_empty() {
        rest
    } else {
        rest.get(digits.len() + 1..)?
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = match zone.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let part = |from: usize, to: usize| zone.get(from..to)?.parse::<i64>().ok();
            sign * (part(1, 3)? * 3_600 + part(4, 6)? * 60)
        }
    };
    Some((((day * 86_400 + seconds - offset) as f64 + fraction) * 1e3).round())
}

/// The three date forms of HTTP (RFC 9110, section 5.6.7).
pub(crate) fn http_date_ms(text: &str) -> Option<f64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = |name: &str| {
        let index = MONTHS.iter().position(|month| *month == name)?;
        i64::try_from(index + 1).ok()
    };
    let words: Vec<&str> = text
        .split([' ', '-'])
        .filter(|word| !word.is_empty())
        .collect();
    let (day, month, year, time) = match words.as_slice() {
        // Sun, 06 Nov 1994 08:49:37 GMT and Sunday, 06-Nov-94 08:49:37 GMT
        [_, day, name, year, time, "GMT"] => (*day, month(name)?, *year, *time),
        // Sun Nov  6 08:49:37 1994
        [_, name, day, time, year] => (*day, month(name)?, *year, *time),
        _ => return None,
    };
    let year: i64 = match (year.len(), year.parse::<i64>().ok()?) {
        (2, year) if year < 70 => 2_000 + year,
        (2, year) => 1_900 + year,
        (4, year) => year,
        _ => return None,
    };
    let mut parts = time.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    let day = days_from_civil(year, month, day.parse().ok()?)?;
    Some((day * 86_400 + hour * 3_600 + minute * 60 + second) as f64 * 1e3)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years that start in March, so that the leap day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

/// The form of JavaScript's `toISOString`: UTC with milliseconds.
pub(crate) fn iso_date(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    // Shifted to a calendar whose eras of 400 years start on the first of March of the year 0.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (second, milli) = (rest / 1_000, rest % 1_000);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dates_in_every_form() {
        let expected = Some(784_111_777_000.0);
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(http_date_ms(text), expected, "{text}");
        }
        for text in [
            "1994-11-06T08:49:37Z",
            "1994-11-06t09:49:37+01:00",
            "1994-11-06T08:49:37.000Z",
        ] {
            assert_eq!(rfc3339_ms(text), expected, "{text}");
        }
        for text in [
            "",
            "tomorrow",
            "Sun, 99 Nov 1994 08:49:37 GMT",
            "1994-13-06T08:49:37Z",
        ] {
            assert_eq!(http_date_ms(text).or(rfc3339_ms(text)), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn iso_dates_round_trip(ms in 0u64..4_102_444_800_000) {
            prop_assert_eq!(rfc3339_ms(&iso_date(ms)), Some(ms as f64));
        }
    }
}
