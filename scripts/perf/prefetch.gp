# SPDX-License-Identifier: MIT
# Time to read a payload over how much of it was asked for ahead: gnuplot -e "data='F'; name='N'" prefetch.gp
set style data histogram
set style histogram cluster gap 1
set style fill solid 0.8 border -1
set boxwidth 0.9
set yrange [0:]
set grid ytics
set xtics rotate by -15
set key above
set ylabel "time, times that without asking"
set title "Reading a byte of each cache line, run x payload"
set datafile separator "\t"
plot_it = "plot data using 2:xtic(1) title columnhead(2), for [i=3:5] '' using i title columnhead(i)"
set terminal svg size 900,440 dynamic background rgb "white"
set output name.".svg"
eval plot_it
set terminal pngcairo size 900,440
set output name.".png"
eval plot_it
