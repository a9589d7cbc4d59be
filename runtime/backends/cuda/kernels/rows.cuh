// Tables of pieces of work: a block finds its row by the number of its first block.

template <class ROW>
__device__ inline const ROW* row_of(const ROW* rows, int count, int block) {
  int low = 0, high = count - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (rows[middle].first <= block) low = middle; else high = middle - 1;
  }
  return rows + low;
}
