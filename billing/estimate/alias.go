package estimate

import (
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"berth/fault"
)

// maxNodes is how many values a compose file may have when its aliases are written out.
const maxNodes = 100_000

// checkAliases refuses a file that is small as it is written and does not fit into any
// memory when the decoder has followed its aliases ("billion laughs"). A file that is not
// YAML is for the decoder to refuse.
func checkAliases(text string) error {
	file, err := parser.ParseBytes([]byte(text), 0)
	if err != nil {
		return nil
	}
	w := weigher{anchors: make(map[string]int)}
	total := 0
	for _, d := range file.Docs {
		total = min(total+w.weigh(d.Body), maxNodes+1)
	}
	if total > maxNodes {
		return fault.New(fault.Invalid, "with its aliases written out the file has more than %d values", maxNodes)
	}
	return nil
}

// weigher counts the values below nodes, up to one more than maxNodes. An alias weighs
// what its anchor does, which stands before it.
type weigher struct{ anchors map[string]int }

func (w weigher) weigh(n ast.Node) int {
	sum := 1
	add := func(n ast.Node) { sum = min(sum+w.weigh(n), maxNodes+1) }
	switch n := n.(type) {
	case nil:
		return 0
	case *ast.AnchorNode:
		add(n.Value)
		w.anchors[n.Name.String()] = sum
	case *ast.AliasNode:
		sum += w.anchors[n.Value.String()]
	case *ast.TagNode:
		add(n.Value)
	case *ast.MappingNode:
		for _, v := range n.Values {
			add(v)
		}
	case *ast.MappingValueNode:
		add(n.Key)
		add(n.Value)
	case *ast.SequenceNode:
		for _, v := range n.Values {
			add(v)
		}
	}
	return min(sum, maxNodes+1)
}
