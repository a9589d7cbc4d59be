"""Operations on a net and its values together: rename, cast, replace, fold, resize."""
