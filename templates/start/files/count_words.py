"""One task: the words of one text, without the common ones, and how often each is there."""

import csv
import re
import sys
from collections import Counter
from pathlib import Path

text, common = (Path(name).read_text(encoding="utf-8").lower() for name in sys.argv[1:3])
words = Counter(re.findall(r"[a-z]+", text))
for word in common.split():
    words.pop(word, None)

# What a task leaves in outputs/ comes home.
with open("outputs/words.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["word", "count"])
    table.writerows(words.most_common())
print(f"{sys.argv[1]}: {len(words)} words, most often {words.most_common(1)[0][0]}")
