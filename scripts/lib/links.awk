# Prints every relative link of the given Markdown files whose file or heading does
# not exist. Code blocks and code spans do not count; links with a scheme neither.

FNR == 1 { fenced = 0 }
/^ *```/ { fenced = !fenced; next }
fenced { next }

# A heading's anchor, as GitHub makes it.
/^#+ / {
  anchor = tolower($0)
  sub(/^#+ +/, "", anchor)
  gsub(/[^a-z0-9 _-]/, "", anchor)
  gsub(/ /, "-", anchor)
  anchors[FILENAME, anchor] = 1
}

{
  line = $0
  gsub(/`[^`]*`/, "", line)
  while (match(line, /\]\([^)]+\)/)) {
    link = substr(line, RSTART + 2, RLENGTH - 3)
    line = substr(line, RSTART + RLENGTH)
    if (link !~ /^[a-z]+:/) links[++count] = FILENAME "\t" FNR "\t" link
  }
}

END {
  for (i = 1; i <= count; i++) {
    split(links[i], at, "\t")
    file = at[1]
    link = at[3]
    heading = ""
    if (hash = index(link, "#")) {
      heading = substr(link, hash + 1)
      link = substr(link, 1, hash - 1)
    }
    target = file
    if (link != "") {
      folder = file ~ /\// ? file : ""
      sub(/[^\/]*$/, "", folder)
      target = folder link
      while (sub(/[^\/]+\/\.\.\//, "", target)) {}
    }
    if ((getline ignored < target) < 0) print file ":" at[2] ": " at[3]
    else if (heading != "" && !((target, heading) in anchors)) print file ":" at[2] ": " at[3] " (no such heading)"
    close(target)
  }
}
