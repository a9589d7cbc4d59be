// Joining blobs along an axis, and cutting one: copies of units of UNIT bytes.
//
// The whole is (outer, total), piece i is (outer, its width) in units. A launch does
// PIECES of them, of which the first begins at unit `from` of the whole; end i is where
// piece i ends, counted from there. A piece that is null is 0 when joined, and left out
// when cut.
#include "storage.cuh"
#include "vec.cuh"
#ifndef UNIT
#define UNIT 16
#endif
#ifndef PIECES
#define PIECES 2
#endif

#if UNIT == 2
typedef Vec<unsigned short, 1> Unit;
#else
typedef Vec<unsigned, UNIT / 4> Unit;
#endif

// Find the piece of the unit r of a row, where it starts and how wide it is.
template <class T>
__device__ inline T find(T const (&pieces)[8], const unsigned (&ends)[8], unsigned r,
                         unsigned* start, unsigned* width) {
  T found = pieces[0];
  *start = 0, *width = ends[0];
#pragma unroll
  for (int i = 1; i < PIECES; i++)
    if (r >= ends[i - 1])
      found = pieces[i], *start = ends[i - 1], *width = ends[i] - ends[i - 1];
  return found;
}

extern "C" __global__ void __launch_bounds__(256)
join(Unit* whole, const Unit* p0, const Unit* p1, const Unit* p2, const Unit* p3,
     const Unit* p4, const Unit* p5, const Unit* p6, const Unit* p7, unsigned e0,
     unsigned e1, unsigned e2, unsigned e3, unsigned e4, unsigned e5, unsigned e6,
     unsigned e7, unsigned outer, unsigned total, unsigned from) {
  const Unit* const pieces[8] = {p0, p1, p2, p3, p4, p5, p6, p7};
  const unsigned ends[8] = {e0, e1, e2, e3, e4, e5, e6, e7};
  unsigned width = ends[PIECES - 1], count = outer * width;
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    unsigned o = t / width, r = t - o * width, start, own;
    const Unit* piece = find(pieces, ends, r, &start, &own);
    Unit value = {};
    if (piece) value = piece[o * own + r - start];
    whole[o * total + from + r] = value;
  }
}

extern "C" __global__ void __launch_bounds__(256)
cut(const Unit* whole, Unit* p0, Unit* p1, Unit* p2, Unit* p3, Unit* p4, Unit* p5,
    Unit* p6, Unit* p7, unsigned e0, unsigned e1, unsigned e2, unsigned e3, unsigned e4,
    unsigned e5, unsigned e6, unsigned e7, unsigned outer, unsigned total,
    unsigned from) {
  Unit* const pieces[8] = {p0, p1, p2, p3, p4, p5, p6, p7};
  const unsigned ends[8] = {e0, e1, e2, e3, e4, e5, e6, e7};
  unsigned width = ends[PIECES - 1], count = outer * width;
  for (unsigned t = FIRST; t < count; t += STRIDE) {
    unsigned o = t / width, r = t - o * width, start, own;
    Unit* piece = find(pieces, ends, r, &start, &own);
    if (piece) piece[o * own + r - start] = whole[o * total + from + r];
  }
}
