-- How text is folded, on both sides of every comparison.
    (text -> replaceRegexpAll(
        toValidUTF8(text),
        '^[\\x09-\\x0D\\x1C-\\x20\\x{85}\\p{Z}]+|[\\x09-\\x0D\\x1C-\\x20\\x{85}\\p{Z}]+\\z',
        ''
    )) AS trimmed,
    (text -> caseFoldUTF8(normalizeUTF8NFKC(trimmed(text)))) AS fold
