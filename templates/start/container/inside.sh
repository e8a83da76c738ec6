# Tells what is in the image. The machine that runs it may be any Linux.
. /etc/os-release
echo "The $1 task ran in: $PRETTY_NAME"
python3 --version 2>/dev/null || echo "There is no Python in this image."

# What a task leaves in outputs/ comes home.
echo "$1: $PRETTY_NAME" > outputs/seen.txt
