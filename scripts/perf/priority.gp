# SPDX-License-Identifier: MIT
# Latency of the high class, idle and under a flood: gnuplot -e "data='F'; name='N'" priority.gp
set style data histogram
set style histogram cluster gap 1
set style fill solid 0.8 border -1
set boxwidth 0.9
set key top right
set logscale y
set grid ytics
set ylabel "from send to ACK, ms"
set title "A high class of messages, idle and under a flood of a low one"
set datafile separator "\t"
colour(i) = word("#9ecae1 #4292c6 #08519c #fdae6b #f16913 #a63603", i)
plot_it = "plot for [i=2:7] data using i:xtic(1) title columnhead(i) linecolor rgb colour(i - 1)"
set terminal svg size 900,480 dynamic background rgb "white"
set output name.".svg"
eval plot_it
set terminal pngcairo size 900,480
set output name.".png"
eval plot_it
