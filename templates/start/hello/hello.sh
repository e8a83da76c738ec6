# Greets one person. osgbatch runs it on an execution point, some machine of the pool.
echo "Hello, $1, from $(uname -n)!"

# What a task leaves in outputs/ comes home.
date > outputs/when.txt
