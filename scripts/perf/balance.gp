# SPDX-License-Identifier: MIT
# Makespan of each policy as a multiple of the best possible: gnuplot -e "data='F'; name='N'" balance.gp
set style data histogram
set style histogram cluster gap 1
set style fill solid 0.8 border -1
set boxwidth 0.9
set key top left
set yrange [0:]
set grid ytics
set ylabel "makespan, times the best possible"
set title "How each policy spreads work over replicas"
set xtics rotate by -15
set datafile separator "\t"
plot_it = "plot data using 2:xtic(1) title columnhead(2), '' using 3 title columnhead(3), '' using 4 title columnhead(4)"
set terminal svg size 900,480 dynamic background rgb "white"
set output name.".svg"
eval plot_it
set terminal pngcairo size 900,480
set output name.".png"
eval plot_it
