"""The ground floor: words and rules that every other room shares."""
