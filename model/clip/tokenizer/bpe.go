package tokenizer

import "container/heap"

// merge joins two neighbouring tokens into one; lower ranks go first.
type merge struct{ rank, id int }

// node is a token of the word being merged, in a doubly linked list; −1 ends it.
type node struct{ id, previous, next int }

// candidate is a merge that was possible when it was found.
type candidate struct {
	merge
	at          int // Index of the left node.
	left, right int // The ids that it joins.
}

// queue orders candidates by rank, then from the left.
type queue []candidate

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].rank != q[j].rank {
		return q[i].rank < q[j].rank
	}
	return q[i].at < q[j].at
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(candidate)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	*q = old[:len(old)-1]
	return last
}

// appendWord adds the ids of one word: its bytes, the last one marked as a word's end, merged
// pair by pair. It takes O(n·log n) for n bytes.
func (t *Tokenizer) appendWord(ids []int, word string) []int {
	nodes := make([]node, len(word))
	for i := range nodes {
		nodes[i] = node{id: t.inner[word[i]], previous: i - 1, next: i + 1}
	}
	end := len(nodes) - 1
	nodes[end].id, nodes[end].next = t.last[word[end]], -1
	t.mergeAll(nodes)
	for i := 0; i >= 0; i = nodes[i].next {
		if nodes[i].id < 0 {
			ids = append(ids, t.unk)
			continue
		}
		ids = append(ids, nodes[i].id)
	}
	return ids
}

// mergeAll merges until no merge is left. Node 0 stays the list's head.
func (t *Tokenizer) mergeAll(nodes []node) {
	var q queue
	consider := func(at int) {
		if at < 0 || nodes[at].next < 0 {
			return
		}
		left, right := nodes[at].id, nodes[nodes[at].next].id
		if m, ok := t.merges[[2]int{left, right}]; ok {
			heap.Push(&q, candidate{merge: m, at: at, left: left, right: right})
		}
	}
	for i := range nodes {
		consider(i)
	}
	for len(q) > 0 {
		c := heap.Pop(&q).(candidate)
		left := &nodes[c.at]
		if left.id != c.left || left.next < 0 || nodes[left.next].id != c.right {
			continue // One of the two has been merged otherwise.
		}
		gone := &nodes[left.next]
		left.id, left.next = c.id, gone.next
		gone.id = consumed
		if left.next >= 0 {
			nodes[left.next].previous = c.at
		}
		consider(left.previous)
		consider(c.at)
	}
}

// consumed marks a node that another has taken in; no merge and no candidate names it.
const consumed = -2
